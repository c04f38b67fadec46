//! The control plane and the binary: configuration, commands, HTTP, logs.
//!
//! Invariant: no row passes through it; it starts, stops and observes. Start at [`cli::main`], then
//! [`config::Config`] and [`control::Control`].

pub mod cli;
pub mod config;
pub mod control;
pub mod http;
pub mod instance;
pub mod log;
pub mod registry;
