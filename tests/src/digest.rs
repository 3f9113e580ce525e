//! placeholder until merge
use std::net::SocketAddr; use std::time::Duration; use rtcmesh_core::transport::*;
/// tmp
#[derive(Debug, Default)] pub struct Digest(u64);
impl Digest { pub fn sent(&mut self,_:Duration,_:usize,_:SocketAddr,_:SocketAddr,_:&[u8]){} pub fn arrived(&mut self,_:Duration,_:usize,_:SocketAddr,_:SocketAddr,_:&[u8]){}
 pub fn outcome(&mut self,_:Duration,_:usize,_:&Outcome){} pub fn event(&mut self,_:Duration,_:usize,_:&Event){} pub fn media(&mut self,_:Duration,_:usize,_:&Media){} pub fn frame(&mut self,_:Duration,_:u64,_:bool,_:&str){} pub fn value(&self)->String{String::new()} }
