//! Damaged logs: cut off, bits flipped, with and without a checksum made right again. An error or other values, never
//! a panic.
