//! Requests rendered beforehand: sending one means copying bytes and writing a number into them.

/// Digits of the number that makes an event distinct.
const NUMBER_DIGITS: usize = 16;
/// Stands in a template where the number goes.
const SLOT: &[u8; NUMBER_DIGITS] = b"################";

/// An HTTP/1.1 request with places for numbers.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    slots: Vec<usize>,
}

/// How a request's head is made.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Path and query.
    pub path: &'a str,
    /// Sent as bearer.
    pub key: &'a str,
    /// `User-Agent`.
    pub user_agent: &'a str,
    /// `X-Forwarded-For`; the server must trust this machine.
    pub address: Option<&'a str>,
}

impl Template {
    /// A POST of a JSON body that holds [`slot`] once an event.
    pub fn new(head: Head<'_>, body: &str) -> Self {
        let forwarded = head
            .address
            .map_or_else(String::new, |address| format!("x-forwarded-for: {address}\r\n"));
        let text = format!(
            "POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\nuser-agent: {}\r\n{forwarded}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            head.path,
            head.key,
            head.user_agent,
            body.len()
        );
        let bytes = text.into_bytes();
        let slots = bytes
            .windows(NUMBER_DIGITS)
            .enumerate()
            .filter(|(_, window)| window == SLOT)
            .map(|(index, _)| index)
            .collect();
        Self { bytes, slots }
    }

    /// The request with its numbers set, each different from all others as long as `first` grows by [`Self::numbers`].
    pub fn render(&mut self, first: u64) -> &[u8] {
        for (number, slot) in (first..).zip(&self.slots) {
            write_number(&mut self.bytes[*slot..*slot + NUMBER_DIGITS], number);
        }
        &self.bytes
    }

    /// Numbers in one request: its events.
    pub fn numbers(&self) -> u64 {
        self.slots.len() as u64
    }
}

fn write_number(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// One event of about 300 bytes with six properties and an id of its own.
pub fn event(timestamp: &str) -> String {
    let slot = String::from_utf8_lossy(SLOT);
    format!(
        r#"{{"event_id":"{slot}","event_name":"page_view","event_source":"web","user_id":"user-004217","timestamp":"{timestamp}","properties":{{"url":"https://shop.example/products/tent-2p?utm_source=mail","referrer":"https://www.google.com/","title":"Tent for two","price":249.5,"plan":"member","position":3}}}}"#
    )
}

/// A batch of such events, as an array.
pub fn batch(timestamp: &str, events: usize) -> String {
    format!("[{}]", vec![event(timestamp); events].join(","))
}

/// The place for the number, for bodies made elsewhere.
pub fn slot() -> String {
    String::from_utf8_lossy(SLOT).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const HEAD: Head<'_> = Head {
        path: "/x",
        key: "sa_k",
        user_agent: "bench",
        address: Some("1.2.3.4"),
    };

    #[test]
    fn every_event_of_every_request_is_distinct_and_of_the_agreed_size() {
        let one = event("2026-01-01T00:00:00Z");
        assert!((290..=330).contains(&one.len()), "{}", one.len());
        let value: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(value["properties"].as_object().unwrap().len(), 6);

        let mut template = Template::new(HEAD, &batch("2026-01-01T00:00:00Z", 3));
        assert_eq!(template.numbers(), 3);
        let mut ids = Vec::new();
        for request in 0..2 {
            let text = String::from_utf8(template.render(request * 3 + 8).to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            assert!(head.contains("x-forwarded-for: 1.2.3.4\r\n"), "{head}");
            let events: Vec<Value> = serde_json::from_str(body).unwrap();
            ids.extend(
                events
                    .iter()
                    .map(|event| event["event_id"].as_str().unwrap().to_owned()),
            );
        }
        let expected = ["08", "09", "10", "11", "12", "13"].map(|digits| format!("00000000000000{digits}"));
        assert_eq!(ids, expected);
    }
}
