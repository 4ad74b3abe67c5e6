//! How a single value reads, whichever layer it comes from: a TOML file knows numbers, a variable or a flag only text.

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// A value that one piece of text can hold.
pub trait Scalar: Sized {
    fn parse(text: &str) -> Option<Self>;

    /// What a wrong value is told: completes "expected …".
    fn expected() -> String;
}

/// Reads any scalar from text, from a number or from a boolean, so that names that look like numbers work.
pub fn deserialize<'de, T: Scalar, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);

    impl<T: Scalar> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&T::expected())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            T::parse(&number.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            T::parse(&number.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
            T::parse(&number.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
        }

        fn visit_bool<E: de::Error>(self, flag: bool) -> Result<T, E> {
            T::parse(&flag.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Bool(flag), &self))
        }
    }

    deserializer.deserialize_any(Text(PhantomData))
}

/// Serde for scalars that print as text.
macro_rules! text_scalar {
    ($($name:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::config::scalar::deserialize(deserializer)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
pub(super) use text_scalar;

/// One of a few words, as an enum.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::config::scalar::Scalar for $name {
            fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)* _ => None }
            }

            fn expected() -> String {
                [$(concat!("\"", $word, "\"")),*].join(" or ")
            }
        }

        crate::config::scalar::text_scalar!($name);
    };
}
pub(super) use choice;

/// A whole number.
impl Scalar for u32 {
    fn parse(text: &str) -> Option<u32> {
        text.parse().ok()
    }

    fn expected() -> String {
        format!("a whole number from 0 to {}", u32::MAX)
    }
}

impl Scalar for u64 {
    fn parse(text: &str) -> Option<u64> {
        // TOML's integers are signed: a larger one could not be written back
        text.parse().ok().filter(|n| i64::try_from(*n).is_ok())
    }

    fn expected() -> String {
        "a whole number, 0 or more".into()
    }
}

/// A value that is worked out at start where it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    Auto,
    Set(T),
}

impl<T> Auto<T> {
    /// The value given, or what `computed` gives.
    pub fn or_else(self, computed: impl FnOnce() -> T) -> T {
        match self {
            Auto::Auto => computed(),
            Auto::Set(value) => value,
        }
    }

    pub fn set(self) -> Option<T> {
        match self {
            Auto::Auto => None,
            Auto::Set(value) => Some(value),
        }
    }
}

impl<T: Scalar> Scalar for Auto<T> {
    fn parse(text: &str) -> Option<Self> {
        if text == "auto" { Some(Auto::Auto) } else { T::parse(text).map(Auto::Set) }
    }

    fn expected() -> String {
        format!("{}, or \"auto\"", T::expected())
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer)
    }
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Set(value) => value.serialize(serializer),
        }
    }
}
