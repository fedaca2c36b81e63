//! The bytes of one connection, between hyper and its socket: what hyper cannot be asked to do.
//!
//! * What is too long or malformed for HTTP itself, hyper refuses with an empty 400, 414 or 431 that no service ever
//!   sees. Here it becomes the API's 400 with `{"error"}`.
//! * A connection can be closed after an answer that did not announce it, as idle connections are by proxies.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::answer::Content;

/// The bytes of one connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    ending: Ending,
    /// Nothing more is read: the caller seems to have hung up.
    ended: bool,
    /// What takes the place of hyper's own refusal, as far as it has not been sent.
    refusal: Bytes,
    /// How many bytes may still come after the end, to be thrown away.
    rest: usize,
}

/// Bodies are not read when they are not asked for. What is larger than this resets the connection.
const LARGEST_REST: usize = 128 << 20;

/// Tells a connection that the answer under way is its last.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    pub fn after_this_answer(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    pub fn new(stream: TcpStream, ending: Ending) -> Self {
        Self { stream, ending, ended: false, refusal: Bytes::new(), rest: LARGEST_REST }
    }

    /// Whether hyper is about to refuse by itself. Every answer of the service has a content type; hyper's have none.
    fn is_refusal_of_hyper(head: &[u8]) -> bool {
        const NAME: &[u8] = b"content-type:";
        (head.starts_with(b"HTTP/1.1 4") || head.starts_with(b"HTTP/1.0 4"))
            && !head.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME))
    }

    fn poll_send_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.refusal.has_remaining() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.refusal))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.refusal.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

fn refusal() -> Bytes {
    let error = Content::Error { error: "the request is malformed, or too long for HTTP".into() }.to_json();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        error.len()
    );
    [head.into_bytes(), error].concat().into()
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if Self::is_refusal_of_hyper(buf) {
            self.refusal = refusal();
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.first() {
            Some(head) if Self::is_refusal_of_hyper(head) => self.poll_write(cx, head),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_refusal(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.ending.0.load(Ordering::Relaxed) && !self.ended {
            self.ended = true;
            // A read may be waiting for the socket; it has to come again to see the end.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_refusal(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        // The rest of the request may still be coming. To close before it is read would reset the connection, and the
        // caller might never see the answer.
        while self.rest > 0 {
            let mut rest = [0; 16 << 10];
            let mut rest = ReadBuf::new(&mut rest);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
            let read = rest.filled().len();
            self.rest = if read == 0 { 0 } else { self.rest.saturating_sub(read) };
        }
        Poll::Ready(Ok(()))
    }
}
