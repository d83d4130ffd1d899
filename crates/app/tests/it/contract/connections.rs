//! How long a connection may keep silent.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::harness::Server;

fn connect(server: &Server) -> TcpStream {
    let address = server.url.strip_prefix("http://").expect("an address");
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    stream
}

fn asks_and_hears(stream: &mut TcpStream) -> bool {
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("sent");
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).expect("an answer");
    answer[..length].starts_with(b"HTTP/1.1 200")
}

#[test]
fn half_a_head_is_given_up_before_an_idle_connection() {
    let server = Server::start();
    let mut idle = connect(&server);
    assert!(asks_and_hears(&mut idle));
    let mut half = connect(&server);
    half.write_all(b"GET /health/live HTTP/1.1\r\nhost").expect("sent");
    assert!(
        matches!(half.read(&mut [0; 16]), Ok(0)),
        "closed by the server, without a word, before the reader's patience ends"
    );
    assert!(asks_and_hears(&mut idle), "a client's pool may use it again");
}
