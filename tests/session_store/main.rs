//! Session stores on the memory backend under virtual time and on a real Redis; on a backend of the tests' own where something has to
//! be counted or broken.

mod broken;
mod data;
mod expiry;
mod storage;
mod verbs;
mod world;
