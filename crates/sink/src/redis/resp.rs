//! Commands in Redis's wire form (RESP, <https://redis.io/docs/latest/develop/reference/protocol-spec/>), one after
//! another in one buffer.
//!
//! Invariant: every command has as many arguments as its header says; whoever begins one appends them all.

/// Bytes of memory that a buffer keeps for the next batch. Enough for any batch but one with a huge row.
pub(super) const KEPT_BYTES_MAX: usize = 8 << 20;

/// Commands on their way to the server, and the row that each belongs to.
#[derive(Default)]
pub(super) struct Commands {
    pub bytes: Vec<u8>,
    /// For each command the sequence of the last row that took part in it.
    pub owners: Vec<u64>,
}

impl Commands {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.owners.clear();
    }

    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Begins a command of `count` arguments, its name among them.
    #[inline]
    pub fn begin(&mut self, owner: u64, name: &str, count: usize) {
        self.owners.push(owner);
        length(&mut self.bytes, b'*', count);
        self.arg(name.as_bytes());
    }

    /// Appends an argument.
    #[inline]
    pub fn arg(&mut self, bytes: &[u8]) {
        length(&mut self.bytes, b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends an argument that is a number.
    #[inline]
    pub fn number(&mut self, number: i64) {
        self.arg(itoa::Buffer::new().format(number).as_bytes());
    }

    /// A whole command.
    pub fn command(&mut self, owner: u64, name: &str, args: &[&[u8]]) {
        self.begin(owner, name, args.len() + 1);
        args.iter().for_each(|arg| self.arg(arg));
    }
}

#[inline]
fn length(out: &mut Vec<u8>, sign: u8, length: usize) {
    out.push(sign);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}
