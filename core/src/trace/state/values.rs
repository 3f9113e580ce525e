//! The states of numbers, texts, collections and other types of the standard library.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::{Layout, Reader, Save, Tape, Unreadable, Writer};

impl Writer {
    /// A variant, by its place.
    pub(crate) fn variant(&mut self, all: &[&str], name: &str) {
        // No enum has so many.
        let place = all.iter().position(|other| *other == name).unwrap_or_default() as u8;
        place.save(self);
    }

    /// A number of things that follow.
    fn count(&mut self, count: usize) {
        match u32::try_from(count) {
            Ok(count) => count.save(self),
            Err(_) => self.fault("a collection of more than 2^32"),
        }
    }

    fn all<'a, T: Save + 'a>(&mut self, all: impl ExactSizeIterator<Item = &'a T>) {
        self.count(all.len());
        all.for_each(|one| one.save(self));
    }
}

impl Reader<'_> {
    /// The name of a variant.
    pub(crate) fn variant<'a>(
        &mut self,
        of: &'static str,
        all: &[&'a str],
    ) -> Result<&'a str, Unreadable> {
        self.field(of, "variant");
        let place = u8::load(self)?;
        let name = all.get(usize::from(place)).copied();
        name.ok_or_else(|| self.wrong(format_args!("{place}, which is none")))
    }
}

macro_rules! numbers {
    ($($number:ident),+) => {$(
        impl Save for $number {
            fn layout(layout: &mut Layout) {
                layout.name(stringify!($number));
            }

            fn save(&self, to: &mut Writer) {
                to.put(&self.to_le_bytes());
            }

            fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
                let bytes = from.take(size_of::<Self>())?.try_into();
                Ok(Self::from_le_bytes(bytes.map_err(|_| from.wrong("a number"))?))
            }
        }
    )+};
}

// Numbers with a point by their bits, that of no number included.
numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, f32, f64);

/// As another type, which every value of the one can be, and not the other way round.
macro_rules! through {
    ($($this:ty as $other:ty: $there:expr, $back:expr;)+) => {$(
        impl Save for $this {
            fn layout(layout: &mut Layout) {
                layout.name(stringify!($this));
            }

            fn save(&self, to: &mut Writer) {
                let there: fn(&Self) -> $other = $there;
                there(self).save(to);
            }

            fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
                let other = <$other>::load(from)?;
                let back: fn($other) -> Option<Self> = $back;
                back(other).ok_or_else(|| from.wrong(concat!("no ", stringify!($this))))
            }
        }
    )+};
}

through! {
    usize as u64: |this| *this as u64, |other| Self::try_from(other).ok();
    bool as u8: |this| u8::from(*this), |other| (other < 2).then_some(other == 1);
    Duration as (u64, u32): |this| (this.as_secs(), this.subsec_nanos()),
        |(seconds, nanos)| (nanos < 1_000_000_000).then(|| Self::new(seconds, nanos));
    Ipv4Addr as u32: |this| (*this).into(), |other| Some(other.into());
    Ipv6Addr as u128: |this| (*this).into(), |other| Some(other.into());
    IpAddr as Result<Ipv4Addr, Ipv6Addr>: |this| match this {
            IpAddr::V4(ip) => Ok(*ip),
            IpAddr::V6(ip) => Err(*ip),
        }, |other| Some(other.map_or_else(Self::V6, Self::V4));
    SocketAddr as (IpAddr, u16, u32, u32): |this| match this {
            SocketAddr::V4(this) => ((*this.ip()).into(), this.port(), 0, 0),
            SocketAddr::V6(this) => {
                ((*this.ip()).into(), this.port(), this.flowinfo(), this.scope_id())
            }
        }, |(ip, port, flow, scope)| Some(match ip {
            IpAddr::V4(_) => Self::new(ip, port),
            IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, port, flow, scope).into(),
        });
    String as Vec<u8>: |this| this.as_bytes().to_vec(), |other| Self::from_utf8(other).ok();
    Arc<str> as Vec<u8>: |this| this.as_bytes().to_vec(),
        |other| Some(String::from_utf8(other).ok()?.into());
}

impl Save for Instant {
    fn layout(layout: &mut Layout) {
        layout.name("Instant");
    }

    fn save(&self, to: &mut Writer) {
        let origin = to.origin;
        let (later, distance) = match self.checked_duration_since(origin) {
            Some(after) => (true, after),
            None => (false, origin.saturating_duration_since(*self)),
        };
        (later, distance).save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let (later, distance) = <(bool, Duration)>::load(from)?;
        let at = from.tape.moved(later, distance);
        at.ok_or_else(|| from.wrong("an instant that no clock shows"))
    }
}

impl Save for &'static str {
    fn layout(layout: &mut Layout) {
        layout.name("word");
    }

    fn save(&self, to: &mut Writer) {
        match to.words.iter().position(|word| word == self) {
            Some(place) => (place as u16).save(to),
            None => to.fault(format!("`{self}` is not among the words of a state")),
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let place = u16::load(from)?;
        let word = from.words.get(usize::from(place)).copied();
        word.ok_or_else(|| from.wrong("no word of a state"))
    }
}

impl Save for Tape {
    fn layout(layout: &mut Layout) {
        layout.name("tape");
    }

    fn save(&self, _: &mut Writer) {}

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(from.tape.clone())
    }
}

impl<T> Save for PhantomData<T> {
    fn layout(layout: &mut Layout) {
        layout.name("nothing");
    }

    fn save(&self, _: &mut Writer) {}

    fn load(_: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self)
    }
}

impl<T: Save> Save for Option<T> {
    fn layout(layout: &mut Layout) {
        layout.name("option");
        layout.of::<T>();
    }

    fn save(&self, to: &mut Writer) {
        self.is_some().save(to);
        if let Some(value) = self {
            value.save(to);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        if bool::load(from)? { T::load(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Save, E: Save> Save for Result<T, E> {
    fn layout(layout: &mut Layout) {
        layout.name("result");
        layout.of::<T>();
        layout.of::<E>();
    }

    fn save(&self, to: &mut Writer) {
        self.is_ok().save(to);
        match self {
            Ok(value) => value.save(to),
            Err(error) => error.save(to),
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(if bool::load(from)? { Ok(T::load(from)?) } else { Err(E::load(from)?) })
    }
}

macro_rules! pointers {
    ($($this:ident)+) => {$(
        impl<T: Save> Save for $this<T> {
            fn layout(layout: &mut Layout) {
                layout.of::<T>();
            }

            fn save(&self, to: &mut Writer) {
                (**self).save(to);
            }

            fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
                T::load(from).map(Self::new)
            }
        }
    )+};
}

pointers!(Box Arc);

impl Save for () {
    fn layout(layout: &mut Layout) {
        layout.name("()");
    }

    fn save(&self, _: &mut Writer) {}

    fn load(_: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($part:ident),+);)+) => {$(
        impl<$($part: Save),+> Save for ($($part,)+) {
            fn layout(layout: &mut Layout) {
                layout.name("tuple");
                $(layout.of::<$part>();)+
            }

            #[allow(non_snake_case)]
            fn save(&self, to: &mut Writer) {
                let ($($part,)+) = self;
                $($part.save(to);)+
            }

            fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
                Ok(($($part::load(from)?,)+))
            }
        }
    )+};
}

tuples! {
    (A, B);
    (A, B, C);
    (A, B, C, D);
}

impl<T: Save, const N: usize> Save for [T; N] {
    fn layout(layout: &mut Layout) {
        layout.name("array");
        layout.name(&N.to_string());
        layout.of::<T>();
    }

    fn save(&self, to: &mut Writer) {
        self.iter().for_each(|one| one.save(to));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let mut all = Vec::with_capacity(N);
        for _ in 0..N {
            all.push(T::load(from)?);
        }
        all.try_into().map_err(|_| from.wrong("an array"))
    }
}

/// What is as many things as there are.
macro_rules! collections {
    ($($this:ty [$($generics:tt)+] of $one:ty;)+) => {$(
        impl<$($generics)+> Save for $this {
            fn layout(layout: &mut Layout) {
                layout.name("collection");
                layout.of::<$one>();
            }

            fn save(&self, to: &mut Writer) {
                to.all(self.iter());
            }

            fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
                let count = from.count(size_of::<$one>())?;
                (0..count).map(|_| <$one>::load(from)).collect()
            }
        }
    )+};
}

collections! {
    Vec<T> [T: Save] of T;
    VecDeque<T> [T: Save] of T;
    Box<[T]> [T: Save] of T;
    Arc<[T]> [T: Save] of T;
    BTreeSet<T> [T: Save + Ord] of T;
}

impl<K: Save + Ord, V: Save> Save for BTreeMap<K, V> {
    fn layout(layout: &mut Layout) {
        layout.name("map");
        layout.of::<K>();
        layout.of::<V>();
    }

    fn save(&self, to: &mut Writer) {
        to.count(self.len());
        for (key, value) in self {
            key.save(to);
            value.save(to);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let count = from.count(size_of::<(K, V)>())?;
        (0..count).map(|_| Ok((K::load(from)?, V::load(from)?))).collect()
    }
}

impl Save for Map<String, Value> {
    fn layout(layout: &mut Layout) {
        layout.name("JSON");
    }

    fn save(&self, to: &mut Writer) {
        to.count(self.len());
        for (key, value) in self {
            key.save(to);
            value.save(to);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let count = from.count(size_of::<(String, Value)>())?;
        from.deeper(|from| {
            (0..count).map(|_| Ok((String::load(from)?, Value::load(from)?))).collect()
        })
    }
}

// Not as text, which may round numbers.
impl Save for Value {
    fn layout(layout: &mut Layout) {
        layout.name("JSON");
    }

    fn save(&self, to: &mut Writer) {
        let mut kind = |kind: u8| kind.save(to);
        match self {
            Self::Null => kind(0),
            Self::Bool(value) => (1_u8, *value).save(to),
            Self::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => (2_u8, number).save(to),
                (_, Some(number), _) => (3_u8, number).save(to),
                (_, _, number) => (4_u8, number.unwrap_or_default()).save(to),
            },
            Self::String(text) => {
                kind(5);
                text.save(to);
            }
            Self::Array(values) => {
                kind(6);
                values.save(to);
            }
            Self::Object(map) => {
                kind(7);
                map.save(to);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(match u8::load(from)? {
            0 => Self::Null,
            1 => Self::Bool(bool::load(from)?),
            2 => Self::Number(u64::load(from)?.into()),
            3 => Self::Number(i64::load(from)?.into()),
            4 => Number::from_f64(f64::load(from)?).map_or(Self::Null, Self::Number),
            5 => Self::String(String::load(from)?),
            6 => from.deeper(Vec::load).map(Self::Array)?,
            7 => Map::load(from).map(Self::Object)?,
            _ => return Err(from.wrong("no JSON")),
        })
    }
}

/// Writes down what entries of a recording have too, as JSON.
pub(crate) fn save_json(what: &impl Serialize, to: &mut Writer) {
    match serde_json::to_string(what) {
        Ok(text) => text.save(to),
        Err(error) => to.fault(error.to_string()),
    }
}

/// The other way round.
pub(crate) fn load_json<T: DeserializeOwned>(from: &mut Reader<'_>) -> Result<T, Unreadable> {
    let text = String::load(from)?;
    serde_json::from_str(&text).map_err(|error| from.wrong(error))
}
