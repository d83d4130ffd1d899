use super::*;

fn request(page: &str, page_size: &str) -> Option<PageRequest> {
    let pairs = [("page", page), ("page_size", page_size)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut parameters = UrlParameters::new(&pairs);
    let request = PageRequest::parse(&mut parameters);
    parameters.finish(request).ok()
}

fn window_sql(page: &str, page_size: &str) -> Result<(String, Vec<i64>), String> {
    let mut parameters = Parameters::default();
    let window = request(page, page_size)
        .unwrap()
        .window()
        .map_err(|error| error.to_string())?;
    let sql = window.sql(&mut parameters);
    let mut bound = Vec::new();
    for number in [window.size.into(), window.offset] {
        bound.push(i64::try_from(number).unwrap());
    }
    Ok((sql, bound))
}

#[test]
fn pages_are_counted_from_one_and_hold_at_most_1000_rows() {
    for (page, page_size, limit, offset) in [
        ("", "", 50, 0),
        ("1", "10", 10, 0),
        ("3", "10", 10, 20),
        (" 2 ", " 7 ", 7, 7),
        ("2", "1000", 1000, 1000),
        ("2", "1001", 1000, 1000),
        ("2", "99999999999999999999999", 1000, 1000),
    ] {
        let expected = ("limit $1 offset $2".to_owned(), vec![limit, offset]);
        assert_eq!(window_sql(page, page_size), Ok(expected), "{page:?} {page_size:?}");
    }
}

#[test]
fn what_is_no_number_is_an_error_and_what_is_no_page_is_not_found() {
    for (page, page_size) in [
        ("x", ""),
        ("1.5", ""),
        ("-", ""),
        ("+1", ""),
        ("1", "0"),
        ("1", "-5"),
        ("1", "ten"),
    ] {
        assert_eq!(request(page, page_size), None, "{page:?} {page_size:?}");
    }
    for (page, shown) in [
        ("0", "0"),
        ("-1", "0"),
        ("20000000002", "20000000002"),
        ("99999999999999999999999", "18446744073709551615"),
    ] {
        assert_eq!(
            window_sql(page, ""),
            Err(format!("There is no page {shown}.")),
            "{page}"
        );
    }
    assert!(window_sql("20000000001", "").is_ok(), "as far as a list can reach");
}

#[test]
fn a_page_without_rows_is_not_found_unless_it_is_the_first() {
    let first = request("1", "10").unwrap().page::<u8>(0, Vec::new()).unwrap();
    assert_eq!((first.count, first.number, first.results), (0, 1, Vec::new()));
    let beyond = request("2", "10").unwrap().page::<u8>(0, Vec::new());
    assert!(matches!(beyond, Err(QueryError::PageNotFound { page: 2 })));
}

#[test]
fn neighbours_are_named_where_they_are() {
    let url = |page: u64| format!("/?page={page}");
    let answer = |page: &str, count: u64| {
        let page = request(page, "10").unwrap().page(count, vec![0_u8]).unwrap();
        let answer = page.into_answer(url);
        (answer.previous, answer.next)
    };
    let named = |page: u64| Some(url(page));
    assert_eq!(answer("1", 1), (None, None));
    assert_eq!(answer("1", 10), (None, None));
    assert_eq!(answer("1", 11), (None, named(2)));
    assert_eq!(answer("2", 30), (named(1), named(3)));
    assert_eq!(answer("3", 30), (named(2), None));
}

#[test]
fn an_answer_is_the_list_of_the_contract() {
    let page = request("2", "2").unwrap().page(5, vec![3, 4]).unwrap();
    let answer = serde_json::to_string(&page.into_answer(|page| format!("?page={page}"))).unwrap();
    assert_eq!(
        answer,
        r#"{"count":5,"next":"?page=3","previous":"?page=1","results":[3,4]}"#
    );
}
