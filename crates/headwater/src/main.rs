//! The binary `headwater`. Everything is in the library, so that tests reach it; start at `headwater::cli::main`.

fn main() -> std::process::ExitCode {
    headwater::cli::main()
}
