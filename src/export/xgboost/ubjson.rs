//! UBJSON (draft 12), of which XGBoost writes objects, strings, counted arrays, arrays of one type, and numbers.

use serde_json::{Map, Value};

/// Deepest nesting that is read: a model of XGBoost's has six levels.
const DEEPEST: usize = 32;

/// The document in `bytes`.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes, at: 0 };
    let found = reader.byte().and_then(|marker| reader.value(marker, 0));
    match found {
        Some(value) if reader.at == bytes.len() => Ok(value),
        _ => Err(format!("this is no UBJSON from byte {} of {} on", reader.at, bytes.len())),
    }
}

/// Where a document is read, and how far it was.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Nothing where the document is cut off or damaged.
impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let found = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(found)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self, marker: u8, depth: usize) -> Option<Value> {
        match marker {
            _ if depth > DEEPEST => None,
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'S' => self.string().map(Value::String),
            b'T' => Some(Value::Bool(true)),
            b'F' => Some(Value::Bool(false)),
            b'Z' => Some(Value::Null),
            _ => self.number(marker),
        }
    }

    fn number(&mut self, marker: u8) -> Option<Value> {
        Some(match marker {
            b'i' => i8::from_be_bytes(self.array()?).into(),
            b'U' => self.byte()?.into(),
            b'I' => i16::from_be_bytes(self.array()?).into(),
            b'l' => i32::from_be_bytes(self.array()?).into(),
            b'L' => i64::from_be_bytes(self.array()?).into(),
            // Null where it is not finite.
            b'd' => f64::from(f32::from_be_bytes(self.array()?)).into(),
            b'D' => f64::from_be_bytes(self.array()?).into(),
            _ => return None,
        })
    }

    fn length(&mut self) -> Option<usize> {
        let marker = self.byte()?;
        usize::try_from(self.number(marker)?.as_u64()?).ok()
    }

    fn string(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        while self.peek()? != b'}' {
            let key = self.string()?;
            let marker = self.byte()?;
            members.insert(key, self.value(marker, depth + 1)?);
        }
        self.at += 1;
        Some(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut found = Vec::new();
        let of_type = match self.peek()? {
            b'$' => {
                self.at += 1;
                Some(self.byte()?)
            }
            _ => None,
        };
        if self.peek()? != b'#' {
            while of_type.is_none() && self.peek()? != b']' {
                let marker = self.byte()?;
                found.push(self.value(marker, depth + 1)?);
            }
            self.at += 1;
            return of_type.is_none().then_some(Value::Array(found));
        }
        self.at += 1;
        for _ in 0..self.length()? {
            // Each takes a byte at least, so that no length makes a list longer than the file.
            let value = match of_type {
                Some(marker) => self.number(marker)?,
                None => {
                    let marker = self.byte()?;
                    self.value(marker, depth + 1)?
                }
            };
            found.push(value);
        }
        Some(Value::Array(found))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_read_or_refused() {
        let cases: [(&[u8], Value); 8] = [
            (b"{}", json!({})),
            (b"{i\x01aSi\x02hi}", json!({"a": "hi"})),
            (b"{L\0\0\0\0\0\0\0\x01a[#i\x02TF}", json!({"a": [true, false]})),
            (b"[$d#i\x02\x3f\x80\0\0\xbf\0\0\0", json!([1.0, -0.5])),
            (b"[$l#U\x01\xff\xff\xff\xff", json!([-1])),
            (b"[i\xffI\x01\0D\x3f\xf0\0\0\0\0\0\0]", json!([-1, 256, 1.0])),
            (b"[d\x7f\x80\0\0]", json!([null])),
            (b"[[]{}Z]", json!([[], {}, null])),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes), Ok(expected));
            for end in 0..bytes.len() {
                assert!(parse(&bytes[..end]).is_err(), "{bytes:?} up to {end}");
            }
        }
        let deep = b"[".repeat(100_000);
        let wrong: [&[u8]; 7] = [
            b"{}x",
            b"x",
            b"[$T#i\x7f",
            b"[$d]",
            b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"Si\x01\xff",
            &deep,
        ];
        for bytes in wrong {
            assert!(parse(bytes).unwrap_err().starts_with("this is no UBJSON from byte "));
        }
    }
}
