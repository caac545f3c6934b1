//! A serde serializer that changes some leaves of what it is given and passes the rest on.
//!
//! The strict JSON of a cache and the forms of the coder are both such changes, so each of them is
//! a [`Policy`].

use std::{fmt::Display, marker::PhantomData};

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// What happens to the leaves that JSON has no exact form for. The default is to pass them on.
pub(crate) trait Policy {
    /// The policy for the keys of maps.
    type Keys: Policy;

    /// Writes a value whose type is still known.
    #[inline]
    fn value<T: Serialize + ?Sized, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        Self: Sized,
    {
        Self::parts(value, serializer)
    }

    /// Writes a value as serde has it, its parts under this policy.
    #[inline]
    fn parts<T: Serialize + ?Sized, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        Self: Sized,
    {
        value.serialize(Adapter::<S, Self>::new(serializer))
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
pub(crate) struct Adapted<'a, T: ?Sized, P>(&'a T, PhantomData<P>);

impl<'a, T: ?Sized, P> Adapted<'a, T, P> {
    pub(crate) fn new(value: &'a T) -> Self {
        Self(value, PhantomData)
    }
}

impl<T: Serialize + ?Sized, P: Policy> Serialize for Adapted<'_, T, P> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        P::value(self.0, serializer)
    }
}

/// A serializer, or one of its compounds, under a policy.
pub(crate) struct Adapter<S, P>(S, PhantomData<P>);

impl<S, P> Adapter<S, P> {
    fn new(inner: S) -> Self {
        Self(inner, PhantomData)
    }
}

macro_rules! pass_on {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($argument),*)
        }
    )*};
}

macro_rules! pass_compound_on {
    ($($method:ident($($argument:ident: $type:ty),*) -> $compound:ident;)*) => {$(
        #[inline]
        fn $method(self, $($argument: $type),*) -> Result<Self::$compound, S::Error> {
            self.0.$method($($argument),*).map(Adapter::new)
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
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<S::Ok, S::Error> {
        P::bool(self.0, value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        P::f32(self.0, value)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        P::f64(self.0, value)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        P::bytes(self.0, value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        P::none(self.0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Adapted::<T, P>::new(value))
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        P::unit(self.0)
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<S::Ok, S::Error> {
        P::unit(self.0)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Adapted::<T, P>::new(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0
            .serialize_newtype_variant(name, index, variant, &Adapted::<T, P>::new(value))
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! adapt_elements {
    ($($compound:ident::$method:ident;)*) => {$(
        impl<S: $compound, P: Policy> $compound for Adapter<S, P> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Adapted::<T, P>::new(value))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
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
                self.0.serialize_field(name, &Adapted::<T, P>::new(value))
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(name)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
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
        self.0.serialize_key(&Adapted::<T, P::Keys>::new(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Adapted::<T, P>::new(value))
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), S::Error> {
        self.0
            .serialize_entry(&Adapted::<K, P::Keys>::new(key), &Adapted::<V, P>::new(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}
