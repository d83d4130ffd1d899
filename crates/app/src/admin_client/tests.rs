use std::{convert::Infallible, path::Path};

use hyper::{server::conn::http1 as server_http1, service::service_fn};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;

/// A server that answers every request with `status` and a body made from the request's line and body.
fn serve(path: &Path, status: u16, answer: fn(&str, &[u8]) -> String) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                let line = format!("{} {}", request.method(), request.uri());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let response = Response::builder()
                    .status(status)
                    .body(Full::new(Bytes::from(answer(&line, &body))));
                Ok::<_, Infallible>(response.unwrap())
            });
            tokio::spawn(server_http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    (folder, socket)
}

#[tokio::test]
async fn calls_carry_their_requests_and_read_their_answers() {
    let (_folder, socket) = folder();
    serve(&socket, 200, |line, body| {
        let body = String::from_utf8_lossy(body);
        match line {
            "POST /import?project=00000000-0000-0000-0000-000000000001" => {
                assert_eq!(body, "{}\n");
                json!({"accepted": 1, "rejected": [{"index": 0, "error": "no"}]}).to_string()
            }
            "DELETE /projects/00000000-0000-0000-0000-000000000001/events" => json!({"deleted": 3}).to_string(),
            "GET /export?project=p&from=2026&event_name=a+b%26c" => "one\ntwo\n".to_owned(),
            other => panic!("{other}"),
        }
    });
    let client = AdminClient::new(socket);
    let project = ProjectId(uuid::Uuid::from_u128(1));
    let report = client.import(project, Bytes::from_static(b"{}\n")).await.unwrap();
    assert_eq!((report.accepted, report.rejected[0].error.as_str()), (1, "no"));
    assert_eq!(
        client.delete_events(project).await.unwrap(),
        DeletedEvents { deleted: 3 }
    );
    let query = ExportQuery {
        project: "p".to_owned(),
        from: Some("2026".to_owned()),
        event_name: Some("a b&c".to_owned()),
        ..ExportQuery::default()
    };
    let mut stream = client.export(&query).await.unwrap();
    let mut text = Vec::new();
    while let Some(bytes) = stream.next().await.unwrap() {
        text.extend_from_slice(&bytes);
    }
    assert_eq!(text, b"one\ntwo\n");
}

#[tokio::test]
async fn the_server_says_itself_what_is_wrong() {
    let (_folder, socket) = folder();
    serve(&socket, 503, |_, _| json!({"error": "the queue is full"}).to_string());
    let error = AdminClient::new(socket).status().await.unwrap_err();
    let failure = error.downcast_ref::<AdminFailure>().unwrap();
    assert_eq!((failure.status, failure.sentence.as_str()), (503, "the queue is full"));
}

#[tokio::test]
async fn a_dead_socket_is_no_server() {
    let (_folder, socket) = folder();
    let client = AdminClient::new(socket.clone());
    assert!(!client.is_listening().await.unwrap());
    // A killed server leaves its file behind.
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    assert!(!client.is_listening().await.unwrap());
    let error = format!("{:#}", client.status().await.unwrap_err());
    assert!(error.contains("is gone"), "{error}");
}

#[tokio::test]
async fn an_export_that_breaks_off_is_an_error() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_folder, socket) = folder();
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        // A chunk, then the end of the connection instead of the last chunk.
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
            .await
            .unwrap();
    });
    let mut stream = AdminClient::new(socket).export(&ExportQuery::default()).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), Some(Bytes::from_static(b"one\n")));
    assert!(stream.next().await.is_err());
}
