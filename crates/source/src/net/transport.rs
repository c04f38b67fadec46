//! The byte stream below the packets: TCP or a Unix socket, in the clear or under TLS, and the handle that cuts it.
//!
//! Invariant: every connection has a connect timeout, TCP keepalive and no Nagle delay. Start at [`Socket::connect`].

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustls::{ClientConnection, StreamOwned};

use super::Address;

/// How many TCP probes may stay unanswered, and how far apart they are.
const KEEPALIVE_PROBES: u32 = 4;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to `address`, trying each of the host's IP addresses in turn.
    ///
    /// `limit` is that of connecting; after a silence of `keepalive` TCP probes whether the peer is still there.
    pub fn connect(address: &Address, limit: Duration, keepalive: Duration) -> io::Result<Self> {
        let (host, port) = match address {
            Address::Unix(path) => return UnixStream::connect(path).map(Self::Unix),
            Address::Tcp { host, port } => (host.as_str(), *port),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for resolved in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&resolved, limit) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    sockopt::set_socket_keepalive(&stream, true)?;
                    sockopt::set_tcp_keepidle(&stream, keepalive)?;
                    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
                    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
                    return Ok(Self::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    pub fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout)),
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    fn shutdown(&self) {
        // Not connected any more is exactly what was wanted.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(out),
            Self::Unix(stream) => stream.read(out),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket, or TLS over it.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Transport {
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Waits until there may be something to read, or `bell` is readable, or `limit` passes; answers the first.
    pub fn wait(&mut self, bell: Option<BorrowedFd<'_>>, limit: Duration) -> io::Result<bool> {
        // What TLS has decrypted already is not seen by a poll of the socket.
        if let Self::Tls(stream) = self {
            let state = stream.conn.process_new_packets().map_err(io::Error::other)?;
            if state.plaintext_bytes_to_read() > 0 {
                return Ok(true);
            }
        }
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let socket = self.socket().as_fd();
        let mut watched = [socket, bell.unwrap_or(socket)].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let count = if bell.is_some() { 2 } else { 1 };
        match poll(&mut watched[..count], Some(&limit)) {
            Ok(_) => Ok(!watched[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The server's certificate, under TLS.
    pub fn server_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.conn.peer_certificates()?.first()?),
        }
    }

    /// Whether a password may be sent as it is: under TLS, or to a process on this machine.
    pub fn hides_secrets(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Plain(Socket::Unix(_)))
    }
}

impl Read for Transport {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(out),
            // A server that goes away does not always say so in TLS; to us both are the end of the stream.
            Self::Tls(stream) => match stream.read(out) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Ends a connection from another thread: a read that blocks ends at once.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<Cancellation>);

#[derive(Debug)]
struct Cancellation {
    cancelled: AtomicBool,
    socket: Socket,
}

impl Canceller {
    pub(crate) fn of(socket: &Socket) -> io::Result<Self> {
        Ok(Self(Arc::new(Cancellation { cancelled: AtomicBool::new(false), socket: socket.try_clone()? })))
    }

    /// Cuts the connection. Calling it again, or after the connection ended, does nothing.
    pub fn cancel(&self) {
        // The flag first, so that the reader knows whose doing the end of its stream is.
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.socket.shutdown();
    }

    /// Whether [`Canceller::cancel`] has been called.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}
