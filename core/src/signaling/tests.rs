//! Both machines from outside: the wire contract row by row, leases and limits in virtual time, what
//! holds for any input, and the two machines connected.

mod desk;
mod leases;
mod limits;
mod pair;
mod properties;
mod wire;
