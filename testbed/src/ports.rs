use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// A port that was free a moment ago. Somebody else may take it before it is used: whoever starts a server on it tries
/// again with another one.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a free port")?;
    Ok(listener.local_addr()?.port())
}
