//! A serde serializer that rewrites some leaves of a value and passes on the rest.
//!
//! The strict JSON of a cache and the forms of the coder are both implemented as a [`Policy`].

use std::{fmt::Display, marker::PhantomData};

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::cache::TOO_DEEP;

/// The treatment of leaves that JSON cannot represent exactly. By default, they are passed on
/// unchanged.
pub(crate) trait Policy {
    /// The policy for the keys of maps.
    type Keys: Policy;

    /// The maximum number of arrays and objects around a value, counted as JSON writes them.
    const DEEPEST: usize = usize::MAX;

    /// Writes a value. A policy overrides this method to treat certain types differently.
    #[inline]
    fn value<T: Serialize + ?Sized, S: Serializer>(value: &T, depth: usize, serializer: S) -> Result<S::Ok, S::Error>
    where
        Self: Sized,
    {
        Self::parts(value, depth, serializer)
    }

    /// Writes a value in serde's form, and applies this policy to its parts.
    #[inline]
    fn parts<T: Serialize + ?Sized, S: Serializer>(value: &T, depth: usize, serializer: S) -> Result<S::Ok, S::Error>
    where
        Self: Sized,
    {
        value.serialize(Adapter::<S, Self>::new(serializer, depth))
    }

    fn bool<S: Serializer>(serializer: S, value: bool) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(value)
    }

    fn f32<S: Serializer>(serializer: S, value: f32) -> Result<S::Ok, S::Error> {
        serializer.serialize_f32(value)
    }

    fn f64<S: Serializer>(serializer: S, value: f64) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value)
    }

    fn bytes<S: Serializer>(serializer: S, value: &[u8]) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(value)
    }

    fn none<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }

    fn unit<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// A value that is serialized under a policy.
pub(crate) struct Adapted<'a, T: ?Sized, P> {
    value: &'a T,
    /// The number of arrays and objects around the value.
    depth: usize,
    policy: PhantomData<P>,
}

impl<'a, T: ?Sized, P> Adapted<'a, T, P> {
    pub(crate) fn new(value: &'a T) -> Self {
        Self::inside(value, 0)
    }

    fn inside(value: &'a T, depth: usize) -> Self {
        Self {
            value,
            depth,
            policy: PhantomData,
        }
    }
}

impl<T: Serialize + ?Sized, P: Policy> Serialize for Adapted<'_, T, P> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        P::value(self.value, self.depth, serializer)
    }
}

/// A serializer, or one of its compounds, under a policy.
pub(crate) struct Adapter<S, P> {
    inner: S,
    depth: usize,
    policy: PhantomData<P>,
}

impl<S, P> Adapter<S, P> {
    fn new(inner: S, depth: usize) -> Self {
        Self {
            inner,
            depth,
            policy: PhantomData,
        }
    }

    fn adapted<'a, T: ?Sized>(&self, value: &'a T) -> Adapted<'a, T, P> {
        Adapted::inside(value, self.depth)
    }
}

impl<S, P: Policy> Adapter<S, P> {
    /// Returns the depth inside `levels` more arrays and objects, or fails if it exceeds the limit.
    /// Without a limit, the depth is not tracked.
    #[inline]
    fn enter<E: Error>(&self, levels: usize) -> Result<usize, E> {
        if P::DEEPEST == usize::MAX {
            return Ok(0);
        }
        let depth = self.depth + levels;
        if depth > P::DEEPEST {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(depth)
    }
}

macro_rules! pass_on {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($argument),*)
        }
    )*};
}

macro_rules! pass_compound_on {
    ($($method:ident($($argument:ident: $type:ty),*) -> $compound:ident, $levels:literal;)*) => {$(
        #[inline]
        fn $method(self, $($argument: $type),*) -> Result<Self::$compound, S::Error> {
            let depth = self.enter($levels)?;
            Ok(Adapter::new(self.inner.$method($($argument),*)?, depth))
        }
    )*};
}

impl<S: Serializer, P: Policy> Serializer for Adapter<S, P> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Adapter<S::SerializeSeq, P>;
    type SerializeTuple = Adapter<S::SerializeTuple, P>;
    type SerializeTupleStruct = Adapter<S::SerializeTupleStruct, P>;
    type SerializeTupleVariant = Adapter<S::SerializeTupleVariant, P>;
    type SerializeMap = Adapter<S::SerializeMap, P>;
    type SerializeStruct = Adapter<S::SerializeStruct, P>;
    type SerializeStructVariant = Adapter<S::SerializeStructVariant, P>;

    pass_on! {
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    pass_compound_on! {
        serialize_seq(len: Option<usize>) -> SerializeSeq, 1;
        serialize_tuple(len: usize) -> SerializeTuple, 1;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct, 1;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeTupleVariant, 2;
        serialize_map(len: Option<usize>) -> SerializeMap, 1;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct, 1;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeStructVariant, 2;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<S::Ok, S::Error> {
        P::bool(self.inner, value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        P::f32(self.inner, value)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        P::f64(self.inner, value)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        P::bytes(self.inner, value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        P::none(self.inner)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.adapted(value);
        self.inner.serialize_some(&value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        P::unit(self.inner)
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<S::Ok, S::Error> {
        P::unit(self.inner)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.adapted(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Adapted::<T, P>::inside(value, self.enter(1)?);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! adapt_elements {
    ($($compound:ident::$method:ident;)*) => {$(
        impl<S: $compound, P: Policy> $compound for Adapter<S, P> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.adapted(value);
                self.inner.$method(&value)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

adapt_elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! adapt_fields {
    ($($compound:ident;)*) => {$(
        impl<S: $compound, P: Policy> $compound for Adapter<S, P> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.adapted(value);
                self.inner.serialize_field(name, &value)
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(name)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

adapt_fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<S: SerializeMap, P: Policy> SerializeMap for Adapter<S, P> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(&Adapted::<T, P::Keys>::new(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.adapted(value);
        self.inner.serialize_value(&value)
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), S::Error> {
        let value = self.adapted(value);
        self.inner.serialize_entry(&Adapted::<K, P::Keys>::new(key), &value)
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
