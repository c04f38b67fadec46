//! Arrays: the text form `[0:1]={a,"b c",NULL}` with any number of dimensions, and the binary form.
//!
//! Invariant: an array's elements are as many as its dimensions say, and every inner array is as long as its neighbours.
//! The text says its dimensions only by its braces, so it is walked twice: once to measure, once to read. Start at
//! [`ArrayDecoder::text`].

use super::bytes::{Bad, Bytes, Read};
use super::cell::{Becomes, binary, text};
use headwater_model::array::DIMENSIONS_MAX;
use headwater_model::{ArrayWriter, Dimension, Value};

const ARRAY: Bad = Bad("is not an array as array_out prints it");

/// Reads arrays of one type of element, into buffers of its own.
#[derive(Clone, Debug)]
pub struct ArrayDecoder {
    pub element: Becomes,
    /// What stands between elements: a comma but for a few types.
    pub delimiter: u8,
    unescaped: Vec<u8>,
    scratch: Vec<u8>,
    writer: ArrayWriter,
}

/// Lengths and lower bounds, on the stack.
#[derive(Clone, Copy)]
struct Shape {
    dimensions: [Dimension; DIMENSIONS_MAX],
    count: usize,
}

impl Shape {
    const EMPTY: Shape = Shape { dimensions: [Dimension { length: 0, lower_bound: 1 }; DIMENSIONS_MAX], count: 0 };

    fn dimensions(&self) -> &[Dimension] {
        &self.dimensions[..self.count]
    }

    fn push(&mut self, dimension: Dimension) -> Read<()> {
        *self.dimensions.get_mut(self.count).ok_or(ARRAY)? = dimension;
        self.count += 1;
        Ok(())
    }
}

impl ArrayDecoder {
    pub fn new(element: Becomes, delimiter: u8) -> Self {
        ArrayDecoder { element, delimiter, unescaped: Vec::new(), scratch: Vec::new(), writer: ArrayWriter::default() }
    }

    /// Reads the text form.
    pub fn text(&mut self, input: &[u8]) -> Read<Value<'_>> {
        let (bounds, body) = bounds(input)?;
        let mut shape = measure(body, self.delimiter)?;
        if let Some(bounds) = bounds {
            // The bounds repeat the lengths, and say where each dimension begins.
            let same = |(told, seen): (&Dimension, &Dimension)| told.length == seen.length;
            if bounds.count != shape.count || !bounds.dimensions().iter().zip(shape.dimensions()).all(same) {
                return Err(ARRAY);
            }
            shape = bounds;
        }
        self.writer.begin(shape.dimensions());
        if shape.count == 0 {
            return self.writer.value().ok_or(ARRAY);
        }
        self.elements(body, &shape)?;
        self.writer.value().ok_or(ARRAY)
    }

    /// Elements separated by blanks, as `int2vector` and `oidvector` are printed; they count from 0.
    pub fn blank_separated(&mut self, input: &[u8]) -> Read<Value<'_>> {
        let words = || input.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let length = u32::try_from(words().count()).map_err(|_| ARRAY)?;
        let dimension = [Dimension { length, lower_bound: 0 }];
        self.writer.begin(if length == 0 { &[] } else { &dimension });
        for word in words() {
            self.writer.put(text(&mut self.element, word, &mut self.scratch)?);
        }
        self.writer.value().ok_or(ARRAY)
    }

    fn elements(&mut self, body: &[u8], shape: &Shape) -> Read<()> {
        let mut walk = Walk { rest: body, delimiter: self.delimiter };
        // How many children each open brace has had so far.
        let mut seen = [0u32; DIMENSIONS_MAX];
        let mut depth = 0;
        // Whether an element, or an inner array, has just ended.
        let mut complete = false;
        loop {
            let token = walk.next(&mut self.unescaped)?;
            let delimits = matches!(token, Token::Close | Token::Delimiter);
            if complete != delimits {
                return Err(ARRAY);
            }
            complete = !matches!(token, Token::Open | Token::Delimiter);
            match token {
                Token::Delimiter => continue,
                Token::Close => {
                    depth -= 1;
                    if seen[depth] != shape.dimensions[depth].length {
                        return Err(ARRAY);
                    }
                    if depth == 0 {
                        return if walk.rest.is_empty() { Ok(()) } else { Err(ARRAY) };
                    }
                    continue;
                }
                _ if depth > 0 => seen[depth - 1] += 1,
                _ => {}
            }
            match token {
                Token::Open if depth < shape.count => {
                    seen[depth] = 0;
                    depth += 1;
                }
                _ if depth != shape.count => return Err(ARRAY),
                Token::Null => self.writer.put(Value::Null),
                Token::Element(element) => {
                    self.writer.put(text(&mut self.element, element, &mut self.scratch)?);
                }
                Token::Unescaped => {
                    self.writer.put(text(&mut self.element, &self.unescaped, &mut self.scratch)?);
                }
                Token::Open | Token::Close | Token::Delimiter => return Err(ARRAY),
            }
        }
    }

    /// The number of dimensions, whether there are nulls, the type of an element, each length and lower bound, then the
    /// elements after their lengths; -1 for NULL.
    pub fn binary(&mut self, input: &[u8]) -> Read<Value<'_>> {
        let mut input = Bytes(input);
        let count = input.u32(ARRAY.0)? as usize;
        if count > DIMENSIONS_MAX {
            return Err(ARRAY);
        }
        input.take(8, ARRAY.0)?;
        let mut shape = Shape::EMPTY;
        let mut elements = usize::from(count > 0);
        for _ in 0..count {
            let (length, lower_bound) = (input.u32(ARRAY.0)?, input.i32(ARRAY.0)?);
            elements = elements.checked_mul(length as usize).ok_or(ARRAY)?;
            shape.push(Dimension { length, lower_bound })?;
        }
        // Each takes four bytes at least, so what is claimed ends with what is there.
        if elements > input.0.len() / 4 || count > 0 && elements == 0 {
            return Err(ARRAY);
        }
        self.writer.begin(shape.dimensions());
        for _ in 0..elements {
            let value = match input.i32(ARRAY.0)? {
                -1 => Value::Null,
                length => {
                    let length = usize::try_from(length).map_err(|_| ARRAY)?;
                    binary(&mut self.element, input.take(length, ARRAY.0)?, &mut self.scratch)?
                }
            };
            self.writer.put(value);
        }
        input.end(ARRAY.0)?;
        self.writer.value().ok_or(ARRAY)
    }
}

/// `[1:2][0:1]=` before the braces, if it is there.
fn bounds(input: &[u8]) -> Read<(Option<Shape>, &[u8])> {
    if input.first() != Some(&b'[') {
        return Ok((None, input));
    }
    let mut rest = input;
    let mut shape = Shape::EMPTY;
    while let Some(inner) = rest.strip_prefix(b"[") {
        rest = inner;
        let lower = i64::from(bound(&mut rest, b':')?);
        let upper = i64::from(bound(&mut rest, b']')?);
        let length = u32::try_from(upper - lower + 1).map_err(|_| ARRAY)?;
        shape.push(Dimension { length, lower_bound: lower as i32 })?;
    }
    Ok((Some(shape), rest.strip_prefix(b"=").ok_or(ARRAY)?))
}

fn bound(rest: &mut &[u8], end: u8) -> Read<i32> {
    let length = rest.iter().position(|byte| *byte == end).ok_or(ARRAY)?;
    let value = super::numeric::integer(&rest[..length], 32).map_err(|_| ARRAY)?;
    *rest = &rest[length + 1..];
    i32::try_from(value).map_err(|_| ARRAY)
}

/// The lengths, as the first array on each level has them; that the others are as long is seen when they are read.
fn measure(body: &[u8], delimiter: u8) -> Read<Shape> {
    let mut lengths = [0u32; DIMENSIONS_MAX];
    // Levels whose first array has been closed are not counted any more.
    let mut closed = DIMENSIONS_MAX;
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut walk = Walk { rest: body, delimiter };
    let mut unescaped = Vec::new();
    loop {
        let counts = depth > 0 && depth <= closed;
        match walk.next(&mut unescaped)? {
            Token::Open => {
                if counts {
                    lengths[depth - 1] += 1;
                }
                depth += 1;
                deepest = deepest.max(depth);
                if depth > DIMENSIONS_MAX {
                    return Err(ARRAY);
                }
            }
            Token::Close => {
                depth = depth.checked_sub(1).ok_or(ARRAY)?;
                closed = closed.min(depth);
                if depth == 0 {
                    break;
                }
            }
            Token::Element(_) | Token::Unescaped | Token::Null if depth == 0 => return Err(ARRAY),
            Token::Element(_) | Token::Unescaped | Token::Null if counts => lengths[depth - 1] += 1,
            _ => {}
        }
    }
    let mut shape = Shape::EMPTY;
    if lengths[..deepest].contains(&0) {
        return if body == b"{}" { Ok(shape) } else { Err(ARRAY) };
    }
    for length in &lengths[..deepest] {
        shape.push(Dimension { length: *length, lower_bound: 1 })?;
    }
    Ok(shape)
}

/// What the text of an array is made of.
enum Token<'a> {
    Open,
    Close,
    Delimiter,
    /// The word NULL without quotes.
    Null,
    /// An element as it stands there.
    Element(&'a [u8]),
    /// An element in which something was escaped: it stands in the buffer.
    Unescaped,
}

struct Walk<'a> {
    rest: &'a [u8],
    delimiter: u8,
}

impl<'a> Walk<'a> {
    fn next(&mut self, unescaped: &mut Vec<u8>) -> Read<Token<'a>> {
        let (&first, rest) = self.rest.split_first().ok_or(ARRAY)?;
        let token = match first {
            b'{' => Token::Open,
            b'}' => Token::Close,
            byte if byte == self.delimiter => Token::Delimiter,
            b'"' => {
                self.rest = rest;
                return self.quoted(unescaped);
            }
            _ => return self.bare(),
        };
        self.rest = rest;
        Ok(token)
    }

    fn bare(&mut self) -> Read<Token<'a>> {
        let ends = |byte: &u8| *byte == self.delimiter || matches!(byte, b'{' | b'}' | b'"' | b'\\');
        let length = self.rest.iter().position(ends).ok_or(ARRAY)?;
        let (element, rest) = self.rest.split_at(length);
        if !matches!(rest.first(), Some(byte) if *byte == self.delimiter || *byte == b'}') {
            return Err(ARRAY);
        }
        self.rest = rest;
        Ok(if element == b"NULL" { Token::Null } else { Token::Element(element) })
    }

    /// An element after its opening quote.
    fn quoted(&mut self, unescaped: &mut Vec<u8>) -> Read<Token<'a>> {
        let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(ARRAY)?;
        let (element, rest) = self.rest.split_at(plain);
        if let Some(rest) = rest.strip_prefix(b"\"") {
            self.rest = rest;
            return Ok(Token::Element(element));
        }
        unescaped.clear();
        unescaped.extend_from_slice(element);
        self.rest = rest;
        loop {
            match self.rest.split_off_first().ok_or(ARRAY)? {
                b'"' => return Ok(Token::Unescaped),
                b'\\' => unescaped.push(*self.rest.split_off_first().ok_or(ARRAY)?),
                byte => unescaped.push(*byte),
            }
        }
    }
}
