//! One visit of one person.

use std::net::Ipv4Addr;

use model::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    SignedUp,
    catalogue::{CHANNELS, Channel, NETWORKS, NEXT_PAGES, PLANS, PRODUCTS, SEARCHES, USER_AGENTS},
    dice::Dice,
};
use crate::import::{ImportEvent, Properties};

const SITE: &str = "https://shop.example";
/// Mean time on a page.
const PAGE_SECONDS: f64 = 38.0;

/// Somebody, always the same for the same seed and number.
#[derive(Debug)]
pub struct Visitor {
    number: u32,
    address: Ipv4Addr,
    user_agent: &'static str,
}

impl Visitor {
    /// Who comes when `share` of all visits are over: few people come often, and new ones keep appearing.
    pub fn choose(seed: u64, users: u32, share: f64, dice: &mut Dice) -> Self {
        let known = (f64::from(users) * (0.35 + 0.65 * share)).max(1.0);
        let number = (known * dice.share().powf(1.8)) as u32;
        Self::of(seed, number.min(users.saturating_sub(1)))
    }

    fn of(seed: u64, number: u32) -> Self {
        let mut dice = Dice::of(seed, "person", u64::from(number));
        let (first, free_bits) = *dice.pick(NETWORKS);
        let offset = u32::try_from(dice.below(1 << free_bits)).unwrap_or(0);
        Self {
            number,
            address: Ipv4Addr::from_bits(first.to_bits() | offset),
            user_agent: *dice.pick(USER_AGENTS),
        }
    }
}

/// How many events a visit has: a third of the visits have one.
pub fn visit_length(dice: &mut Dice) -> u64 {
    const LENGTHS: &[(u64, u32)] = &[(1, 34), (2, 17), (3, 13), (4, 9), (6, 10), (9, 9), (14, 6), (22, 2)];
    *dice.pick(LENGTHS)
}

/// The events of a visit that begins at `start`, with their times; ids and time texts are the caller's to set.
pub fn events(
    visitor: &Visitor,
    length: u64,
    start: Timestamp,
    dice: &mut Dice,
    signed_up: &mut SignedUp,
) -> Vec<(Timestamp, ImportEvent)> {
    let channel = *dice.pick(CHANNELS);
    let session_id = format!("visit-{:016x}", dice.bits());
    let mut walk = Walk {
        page: dice.pick::<&'static str>(channel.landing),
        previous: None,
        channel,
    };
    let mut at = start;
    let mut events = Vec::new();
    let mut follow_up: Option<(&'static str, Map<String, Value>)> = None;
    while (events.len() as u64) < length {
        let (name, properties) = match follow_up.take() {
            Some(event) => {
                // Only now: a visit may end before it comes to this.
                if event.0 == "sign_up" {
                    signed_up.add(visitor.number);
                }
                event
            }
            None => {
                let properties = walk.page_view();
                follow_up = consequence(walk.page, visitor.number, dice, signed_up);
                ("page_view", properties)
            }
        };
        events.push((at, event(visitor, &session_id, name, &properties)));
        if follow_up.is_none() {
            walk.go_on(dice);
        }
        at = at.saturating_add_micros((dice.exponential(PAGE_SECONDS) * 1e6) as i64 + 400_000);
    }
    events
}

/// Where the visitor is.
struct Walk {
    page: &'static str,
    previous: Option<&'static str>,
    channel: Channel,
}

impl Walk {
    fn page_view(&self) -> Map<String, Value> {
        let (url, referrer) = match self.previous {
            Some(previous) => (format!("{SITE}{}", self.page), Some(format!("{SITE}{previous}"))),
            None if self.channel.query.is_empty() => {
                (format!("{SITE}{}", self.page), self.channel.referrer.map(str::to_owned))
            }
            None => (
                format!("{SITE}{}?{}", self.page, self.channel.query),
                self.channel.referrer.map(str::to_owned),
            ),
        };
        let mut properties = Map::new();
        properties.insert("url".to_owned(), json!(url));
        if let Some(referrer) = referrer {
            properties.insert("referrer".to_owned(), json!(referrer));
        }
        properties
    }

    fn go_on(&mut self, dice: &mut Dice) {
        let next = NEXT_PAGES.iter().find(|(page, _)| self.page.starts_with(page));
        self.previous = Some(self.page);
        if let Some((_, pages)) = next {
            self.page = *dice.pick(pages);
        }
    }
}

/// What a visitor does on a page, besides looking at it.
fn consequence(
    page: &str,
    user: u32,
    dice: &mut Dice,
    signed_up: &SignedUp,
) -> Option<(&'static str, Map<String, Value>)> {
    let (name, properties) = if page == "/signup" && !signed_up.has(user) && dice.chance(0.45) {
        ("sign_up", json!({"plan": dice.pick(PLANS)}))
    } else if page == "/checkout" && signed_up.has(user) && dice.chance(0.6) {
        let (product, price) = PRODUCTS[usize::try_from(dice.below(PRODUCTS.len() as u64)).unwrap_or(0)];
        let quantity = 1 + u32::from(dice.chance(0.2));
        let total = price * f64::from(quantity);
        (
            "purchase",
            json!({"product": product, "quantity": quantity, "price": total, "currency": "EUR"}),
        )
    } else if let Some(product) = page.strip_prefix("/products/")
        && dice.chance(0.3)
    {
        ("add_to_cart", json!({"product": product}))
    } else if page == "/products" && dice.chance(0.2) {
        ("search", json!({"query": dice.pick(SEARCHES)}))
    } else {
        return None;
    };
    match properties {
        Value::Object(map) => Some((name, map)),
        _ => None,
    }
}

fn event(visitor: &Visitor, session_id: &str, name: &str, properties: &Map<String, Value>) -> ImportEvent {
    ImportEvent {
        event_name: name.to_owned(),
        event_source: Some("web".to_owned()),
        user_id: Some(format!("user-{:06}", visitor.number)),
        session_id: Some(session_id.to_owned()),
        properties: Properties::from(properties),
        ip_address: Some(visitor.address.to_string()),
        user_agent: Some(visitor.user_agent.to_owned()),
        ..ImportEvent::default()
    }
}
