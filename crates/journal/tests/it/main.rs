//! The journal's tests over real files: one binary, one module per promise.

mod basics;
mod crash;
mod damage;
mod faults;
mod fixture;
mod retention;
mod shop;
mod together;
