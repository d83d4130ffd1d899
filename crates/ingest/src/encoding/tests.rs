use std::io::Write;

use super::*;

const LIMIT: usize = 1000;
const TEXT: &[u8] = br#"{"event_name":"page_view","properties":{"page":"/"}}"#;

fn compress(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
    let level = flate2::Compression::default();
    match encoding {
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Brotli => {
            let mut compressed = Vec::new();
            brotli::CompressorWriter::new(&mut compressed, 4096, 5, 22)
                .write_all(bytes)
                .unwrap();
            compressed
        }
        Encoding::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
    }
}

fn broken(encoding: &'static str, reason: &str) -> RequestError {
    RequestError::BrokenEncoding {
        encoding,
        reason: reason.to_owned(),
    }
}

#[test]
fn each_encoding_gives_the_body_back() {
    for encoding in Encoding::ALL {
        let compressed = compress(TEXT, encoding);
        let header = encoding.name();
        assert_eq!(
            decode(&compressed, Some(header), LIMIT).as_deref(),
            Ok(TEXT),
            "{header}"
        );
        let shouted = format!(" {}, identity", header.to_uppercase());
        assert_eq!(decode(&compressed, Some(&shouted), LIMIT).as_deref(), Ok(TEXT));
    }
    assert_eq!(decode(TEXT, None, LIMIT).as_deref(), Ok(TEXT));
    assert_eq!(decode(TEXT, Some("identity"), LIMIT).as_deref(), Ok(TEXT));
}

#[test]
fn deflate_is_read_with_and_without_the_zlib_frame() {
    let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    bare.write_all(TEXT).unwrap();
    assert_eq!(
        decode(&bare.finish().unwrap(), Some("deflate"), LIMIT).as_deref(),
        Ok(TEXT)
    );
}

#[test]
fn a_bare_stream_that_begins_like_zlib_is_read_too() {
    // A stored block of 0x5a01 times "U". Its first bytes are also a zlib header, behind which a decoder finds 23,044
    // other characters before it sees that the stream is cut: nothing of them may stay.
    const LENGTH: u16 = 0x5a01;
    let text = vec![b'U'; LENGTH.into()];
    let head = [&[0x78][..], &LENGTH.to_le_bytes(), &(!LENGTH).to_le_bytes()].concat();
    let last_block = [0x01, 0x00, 0x00, 0xff, 0xff];
    let stream = [head.as_slice(), &text, &last_block].concat();
    let decoded = decode(&stream, Some("deflate"), 100_000).unwrap();
    assert!(decoded.as_ref() == text, "{} bytes", decoded.len());
}

#[test]
fn gzip_is_known_by_its_first_bytes_and_may_have_several_members() {
    let mut compressed = compress(&TEXT[..20], Encoding::Gzip);
    compressed.extend(compress(&TEXT[20..], Encoding::Gzip));
    assert_eq!(decode(&compressed, None, LIMIT).as_deref(), Ok(TEXT));
    assert_eq!(decode(&compressed, Some("x-gzip"), LIMIT).as_deref(), Ok(TEXT));
}

#[test]
fn other_and_stacked_encodings_are_refused_with_the_list() {
    for (header, found) in [
        ("compress", "\"compress\""),
        ("gzip, br", "\"gzip, br\""),
        ("gzip, gzip", "\"gzip, gzip\""),
        ("lz4\u{7}", "\"lz4\\u{7}\""),
    ] {
        let error = decode(TEXT, Some(header), LIMIT).unwrap_err();
        assert_eq!(
            error,
            RequestError::UnsupportedEncoding {
                found: found.to_owned()
            }
        );
        assert!(
            error
                .to_string()
                .ends_with("use one of gzip, deflate, br, zstd, or none.")
        );
    }
}

#[test]
fn the_limit_holds_for_each_encoding_to_the_byte() {
    let exact = vec![b' '; LIMIT];
    let larger = vec![b' '; LIMIT + 1];
    assert_eq!(
        decode(&larger, None, LIMIT),
        Err(RequestError::TooLarge { limit: LIMIT })
    );
    assert_eq!(decode(&exact, None, LIMIT).map(|body| body.len()), Ok(LIMIT));
    for encoding in Encoding::ALL {
        let header = Some(encoding.name());
        let body = compress(&exact, encoding);
        assert_eq!(
            decode(&body, header, LIMIT).map(|body| body.len()),
            Ok(LIMIT),
            "{header:?}"
        );
        let body = compress(&larger, encoding);
        assert_eq!(
            decode(&body, header, LIMIT),
            Err(RequestError::TooLarge { limit: LIMIT }),
            "{header:?}"
        );
    }
}

#[test]
fn sizes_around_every_growth_of_the_buffer_come_back_whole() {
    let limit = 400_000;
    for size in [
        0, 1, 255, 256, 257, 1023, 1024, 16_383, 16_384, 16_385, 65_536, 99_999, 100_001, 262_145, limit,
    ] {
        let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        for encoding in Encoding::ALL {
            let compressed = compress(&bytes, encoding);
            let decoded = decode(&compressed, Some(encoding.name()), limit).unwrap();
            assert!(decoded.as_ref() == bytes, "{encoding:?} {size}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_or_followed_by_more_is_broken() {
    for encoding in Encoding::ALL {
        let name = encoding.name();
        let whole = compress(TEXT, encoding);
        for cut in 1..whole.len() {
            let result = decode(&whole[..cut], Some(name), LIMIT);
            assert!(
                matches!(&result, Err(RequestError::BrokenEncoding { encoding, .. }) if *encoding == name),
                "{name} cut at {cut}: {result:?}"
            );
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(b"more");
        assert!(
            matches!(
                decode(&longer, Some(name), LIMIT),
                Err(RequestError::BrokenEncoding { .. })
            ),
            "{name}"
        );
    }
    assert_eq!(
        decode(&compress(TEXT, Encoding::Brotli)[..9], Some("br"), LIMIT),
        Err(broken("br", "it ends too early"))
    );
}

#[test]
fn bytes_that_are_not_compressed_at_all_are_broken() {
    for encoding in Encoding::ALL {
        let error = decode(TEXT, Some(encoding.name()), LIMIT).unwrap_err();
        assert_eq!(error.code(), "broken_encoding", "{encoding:?}");
    }
}

#[test]
fn an_empty_body_is_left_to_the_format() {
    for header in [None, Some("gzip"), Some("br")] {
        assert_eq!(decode(b"", header, LIMIT).as_deref(), Ok(&b""[..]));
    }
}

#[test]
fn windows_that_cost_more_memory_than_the_web_allows_are_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(limits::ZSTD_WINDOW_LOG_MAX + 1).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(TEXT).unwrap();
    let error = decode(&encoder.finish().unwrap(), Some("zstd"), LIMIT).unwrap_err();
    assert_eq!(error, broken("zstd", "Frame requires too much memory for decoding"));
    // A brotli header of the large-window extension that asks for 2^30 bytes.
    let error = decode(&[0x11, 0x1e, 0x03], Some("br"), LIMIT).unwrap_err();
    assert_eq!(error, broken("br", "the stream is corrupt"));
}
