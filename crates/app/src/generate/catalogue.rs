//! What the made-up world consists of, with weights.

use std::net::Ipv4Addr;

/// How a visitor found the site.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// `document.referrer`.
    pub referrer: Option<&'static str>,
    /// Query string of the landing page.
    pub query: &'static str,
    /// Landing pages.
    pub landing: &'static [(&'static str, u32)],
}

const HOME: &[(&str, u32)] = &[("/", 70), ("/products", 20), ("/pricing", 10)];
const READING: &[(&str, u32)] = &[
    ("/blog/choosing-a-tent", 40),
    ("/blog/winter-hiking", 30),
    ("/blog/ultralight-gear", 20),
    ("/", 10),
];

const fn channel(
    referrer: Option<&'static str>,
    query: &'static str,
    landing: &'static [(&'static str, u32)],
) -> Channel {
    Channel {
        referrer,
        query,
        landing,
    }
}

/// Ways to the site.
pub const CHANNELS: &[(Channel, u32)] = &[
    (channel(None, "", HOME), 34),
    (channel(Some("https://www.google.com/"), "", READING), 26),
    (channel(Some("https://www.bing.com/"), "", READING), 4),
    (channel(Some("https://duckduckgo.com/"), "", READING), 3),
    (channel(Some("https://news.ycombinator.com/"), "", READING), 4),
    (channel(Some("https://www.reddit.com/"), "", READING), 6),
    (
        channel(
            Some("https://www.google.com/"),
            "utm_source=google&utm_medium=cpc&utm_campaign=brand&utm_term=trail+shop",
            HOME,
        ),
        8,
    ),
    (
        channel(
            None,
            "utm_source=newsletter&utm_medium=email&utm_campaign=spring-sale&utm_content=hero",
            HOME,
        ),
        9,
    ),
    (
        channel(
            Some("https://www.instagram.com/"),
            "utm_source=instagram&utm_medium=social&utm_campaign=summer-trails",
            HOME,
        ),
        6,
    ),
];

/// Where a visitor goes from a page; the first entry that begins like the page counts.
pub const NEXT_PAGES: &[(&str, &[(&str, u32)])] = &[
    (
        "/blog/",
        &[
            ("/blog/winter-hiking", 25),
            ("/blog/ultralight-gear", 20),
            ("/", 25),
            ("/products", 20),
            ("/signup", 10),
        ],
    ),
    (
        "/products/",
        &[("/cart", 35), ("/products", 40), ("/", 10), ("/pricing", 15)],
    ),
    (
        "/products",
        &[
            ("/products/tent-2p", 30),
            ("/products/down-jacket", 28),
            ("/products/trail-shoes", 32),
            ("/", 10),
        ],
    ),
    ("/cart", &[("/checkout", 55), ("/products", 45)]),
    ("/checkout", &[("/", 40), ("/products", 60)]),
    (
        "/pricing",
        &[("/signup", 45), ("/products", 30), ("/docs/delivery", 25)],
    ),
    ("/signup", &[("/products", 60), ("/", 20), ("/cart", 20)]),
    ("/docs/", &[("/pricing", 40), ("/products", 40), ("/", 20)]),
    (
        "/",
        &[
            ("/products", 45),
            ("/pricing", 20),
            ("/blog/choosing-a-tent", 20),
            ("/docs/delivery", 5),
            ("/signup", 10),
        ],
    ),
];

/// What is sold, with its price in euros.
pub const PRODUCTS: &[(&str, f64)] = &[("tent-2p", 249.0), ("down-jacket", 179.5), ("trail-shoes", 119.9)];

/// What an account costs.
pub const PLANS: &[(&str, u32)] = &[("free", 78), ("member", 17), ("team", 5)];

/// What people look for.
pub const SEARCHES: &[(&str, u32)] = &[("tent", 40), ("jacket", 30), ("shoes size 44", 20), ("gift card", 10)];

/// Address ranges of large access providers, as first address and free bits, one a country, so that the country of a made-up
/// address comes out right.
pub const NETWORKS: &[((Ipv4Addr, u32), u32)] = &[
    // United States, Germany, United Kingdom, France, Japan, Canada, Spain, Poland, India, Brazil, Netherlands.
    ((Ipv4Addr::new(73, 0, 0, 0), 24), 26),
    ((Ipv4Addr::new(79, 192, 0, 0), 22), 18),
    ((Ipv4Addr::new(86, 128, 0, 0), 22), 11),
    ((Ipv4Addr::new(90, 0, 0, 0), 23), 9),
    ((Ipv4Addr::new(126, 0, 0, 0), 24), 6),
    ((Ipv4Addr::new(99, 224, 0, 0), 21), 6),
    ((Ipv4Addr::new(88, 0, 0, 0), 21), 5),
    ((Ipv4Addr::new(83, 0, 0, 0), 21), 5),
    ((Ipv4Addr::new(49, 32, 0, 0), 21), 6),
    ((Ipv4Addr::new(177, 32, 0, 0), 18), 4),
    ((Ipv4Addr::new(84, 24, 0, 0), 18), 4),
];

/// Browsers, by what people use.
pub const USER_AGENTS: &[(&str, u32)] = &[
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
        30,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
        10,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
        8,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
        19,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
        18,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        6,
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        3,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
        4,
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
        2,
    ),
];
