//! What a process costs and what a row of numbers says. Linux's clocks, `/proc` and `wait4` are the only instruments.
//!
//! Invariant: a cost is taken by the kernel's own accounting, never by what the measured program says of itself. Start at
//! [`run`] for programs that end and [`cpu_s`] for those that do not.

use headwater_testkit::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Instant;

/// Time that a program took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From its start to its end, seconds.
    pub wall_s: f64,
    /// User and system time, seconds.
    pub cpu_s: f64,
}

/// Runs `command` to its end.
pub fn run(command: &mut Command) -> Result<Cost> {
    let program = command.get_program().to_string_lossy().into_owned();
    let began = Instant::now();
    let child = command.spawn().map_err(|error| Error::new(format!("start {program}: {error}")))?;
    let (status, cpu_s) = wait(&child)?;
    let wall_s = began.elapsed().as_secs_f64();
    match status {
        0 => Ok(Cost { wall_s, cpu_s }),
        status => Err(Error::new(format!("{program} ended with status {status:#x}; run it by hand: {command:?}"))),
    }
}

/// Reaps `child`; its wait status and its user and system time in seconds.
fn wait(child: &Child) -> Result<(i32, f64)> {
    // SAFETY: rusage is plain numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: the child is ours and nobody else reaps it; both pointers are to live values of the right type.
    let reaped = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
    if reaped < 0 {
        return Err(Error::new(format!("wait for process {}: {}", child.id(), std::io::Error::last_os_error())));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((status, seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

/// User and system time of a running process so far, all its threads, in seconds. Exact, where `/proc` counts hundredths.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let failed = |code: i32| {
        let error = std::io::Error::from_raw_os_error(code);
        Error::new(format!("ask for the processor time of process {pid}: {error}"))
    };
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: the pointer is to a live value of the right type.
    match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
        0 => {}
        code => return Err(failed(code)),
    }
    // SAFETY: as above.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9),
        _ => Err(failed(libc::ESRCH)),
    }
}

/// Bytes of all files below `folder`, those gone meanwhile left out. `None` of `extension` counts every file.
pub fn folder_bytes(folder: &Path, extension: Option<&str>) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => folder_bytes(&entry.path(), extension),
        Ok(data) if extension.is_none() || entry.path().extension().and_then(|e| e.to_str()) == extension => data.len(),
        _ => 0,
    });
    bytes.sum()
}

/// Bytes on disk of the files that a process holds open and that have no name any more.
pub fn unnamed_bytes(pid: u32) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let bytes = open.map(|entry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        match std::fs::metadata(entry.path()) {
            Ok(data) if data.is_file() && target.to_string_lossy().ends_with(" (deleted)") => data.blocks() * 512,
            _ => 0,
        }
    });
    bytes.sum()
}

/// The value below which `part` (0 to 1) of `values` lie; 0 for none.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (part * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// The middle value; the mean of the two middle ones for an even number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The least and the greatest value.
pub fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        for (values, middle, p99) in [
            (vec![], 0.0, 0.0),
            (vec![3.0], 3.0, 3.0),
            (vec![4.0, 1.0], 2.5, 4.0),
            (vec![9.0, 1.0, 5.0], 5.0, 9.0),
            ((0..=100).map(f64::from).collect(), 50.0, 99.0),
        ] {
            assert_eq!((median(&values), percentile(&values, 0.99)), (middle, p99), "{values:?}");
        }
    }

    #[test]
    fn a_file_without_a_name_still_has_bytes() {
        let file = headwater_model::source::scratch_in(&std::env::temp_dir()).unwrap();
        std::io::Write::write_all(&mut &file, &[1; 1 << 16]).unwrap();
        file.sync_data().unwrap();
        assert!(unnamed_bytes(std::process::id()) >= 1 << 16);
    }

    #[test]
    fn the_kernel_says_what_a_process_costs() {
        let cost = run(Command::new("true").arg("anything")).unwrap();
        assert!(cost.wall_s >= cost.cpu_s / 2.0 && cost.cpu_s < 5.0, "{cost:?}");
        assert!(run(&mut Command::new("false")).is_err());
        assert!(cpu_s(std::process::id()).is_ok());
        // No kernel hands out ids from 2^22 on.
        assert!(cpu_s(1 << 23).is_err());
    }
}
