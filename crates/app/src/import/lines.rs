//! Lines of bounded length.

use std::io::{self, BufRead};

/// A line as read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes are in the buffer, without the line's end.
    Whole,
    /// Longer than allowed; skipped up to its end.
    TooLong,
    /// There is none left.
    End,
}

/// Reads the next line into `buffer`, at most `bytes_max` of it. The end is `\n` or `\r\n` or that of the file.
pub fn read_line(reader: &mut dyn BufRead, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<Line> {
    buffer.clear();
    let mut too_long = false;
    let mut anything = false;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            break;
        }
        anything = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        if buffer.len() + part.len() > bytes_max {
            too_long = true;
        } else {
            buffer.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if !anything {
        return Ok(Line::End);
    }
    if too_long {
        return Ok(Line::TooLong);
    }
    if buffer.last() == Some(&b'\r') {
        buffer.pop();
    }
    Ok(Line::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_three_ways_and_long_ones_are_skipped_whole() {
        let text = b"one\r\n\nlonger than ten bytes\nlast";
        // A buffer of 4 bytes: lines are put together from several reads.
        let mut reader = io::BufReader::with_capacity(4, &text[..]);
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        loop {
            let line = read_line(&mut reader, &mut buffer, 10).unwrap();
            let done = line == Line::End;
            seen.push((line, String::from_utf8_lossy(&buffer).into_owned()));
            if done {
                break;
            }
        }
        let whole = |text: &str| (Line::Whole, text.to_owned());
        assert_eq!(seen[0], whole("one"));
        assert_eq!(seen[1], whole(""));
        assert_eq!(seen[2].0, Line::TooLong);
        assert_eq!(seen[3], whole("last"));
        assert_eq!(seen[4].0, Line::End);
        assert_eq!(seen.len(), 5);
    }
}
