//! The network between a client and a server of this machine, for tests that cut it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

/// How often a connection looks whether the network has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the network does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    /// Carries them.
    Works,
    /// Keeps them, and carries them when it works again, however late: as a router that stands still.
    Holds,
    /// Ends every connection, and every new one.
    Cuts,
}

/// A port that leads to another one.
pub struct Proxy {
    port: u16,
    network: Arc<AtomicU8>,
}

impl Proxy {
    /// Makes a port that leads to `port`, until the process ends.
    ///
    /// # Panics
    /// When no port is free.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let network = Arc::new(AtomicU8::new(Network::Works as u8));
        let state = Arc::clone(&network);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || connect(client, port, &state));
            }
        });
        Self { port: own, network }
    }

    /// The port that clients use.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the network, within some 20 ms for connections that are open.
    pub fn set(&self, network: Network) {
        self.network.store(network as u8, Ordering::SeqCst);
    }
}

fn connect(client: TcpStream, port: u16, network: &Arc<AtomicU8>) {
    // A refused connection ends the client's too.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return;
    };
    let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let back = Arc::clone(network);
    std::thread::spawn(move || carry(server, to_client, &back));
    carry(client, to_server, network);
}

/// Carries bytes in one direction until an end closes, or the network is cut.
fn carry(mut from: TcpStream, mut to: TcpStream, network: &AtomicU8) {
    let mut buffer = [0; 16 * 1024];
    let is = |wanted: Network| network.load(Ordering::SeqCst) == wanted as u8;
    // Both fail only for a time of zero or a closed connection.
    let _ = from.set_read_timeout(Some(LOOK_INTERVAL));
    let _ = to.set_nodelay(true);
    while !is(Network::Cuts) {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        while is(Network::Holds) {
            std::thread::sleep(LOOK_INTERVAL);
        }
        if is(Network::Cuts) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other direction, and both ends, hear of it.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
