//! What cannot be had for less: the work that a server has to do with the bytes at the least, by itself.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use store::ambient::Ambient;

use crate::Failure;
use crate::wire::Stretch;

/// The level that packs are compressed with, and how many bytes at a time.
const LEVEL: i32 = 3;
const SNAPSHOTS: usize = 4 << 20;
const OBJECTS: usize = 2 << 20;
/// Bytes that are written at a time.
const PIECE: usize = 64 << 10;

/// What a first push is, as far as the floor goes.
pub struct Pushed {
    /// Bodies of requests, each parsed once.
    bodies: Vec<Bytes>,
    /// Texts that are hashed, each once.
    hashed: Vec<Vec<u8>>,
    /// What is compressed, each once.
    compressed: Vec<Vec<u8>>,
}

/// Milliseconds of a processor.
#[derive(Clone, Copy)]
pub struct Floor {
    /// To parse the bodies.
    pub parsing: f64,
    /// To hash what has an id.
    pub hashing: f64,
    /// To compress what is stored.
    pub compressing: f64,
}

impl Pushed {
    /// Of a stretch that was made into these bodies.
    pub fn of(stretch: &Stretch, bodies: Vec<Bytes>) -> Result<Self, Failure> {
        let objects = stretch.objects.iter().map(|object| object.content.to_vec());
        let snapshots = stretch.snapshots.iter().map(|snapshot| snapshot.text().into_bytes());
        let hashed = objects.chain(snapshots).collect();
        let mut by_path: Vec<_> = stretch.objects.iter().collect();
        by_path.sort_by(|a, b| a.path.cmp(&b.path));
        let mut compressed = blocks(by_path.into_iter().map(|object| Ok(object.content.to_vec())), OBJECTS)?;
        let records = stretch.snapshots.iter().map(|snapshot| Ok(rmp_serde::to_vec_named(snapshot)?));
        compressed.extend(blocks(records, SNAPSHOTS)?);
        Ok(Self { bodies, hashed, compressed })
    }

    /// Does the work once, on one thread.
    pub fn floor(&self) -> Result<Floor, Failure> {
        let began = worked();
        for body in &self.bodies {
            rmp_serde::from_slice::<IgnoredAny>(body)?;
        }
        let parsed = worked();
        for text in &self.hashed {
            std::hint::black_box(Sha256::digest(text));
        }
        let hashed = worked();
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        for block in &self.compressed {
            std::hint::black_box(compressor.compress(block)?);
        }
        Ok(Floor { parsing: parsed - began, hashing: hashed - parsed, compressing: worked() - hashed })
    }
}

fn blocks(records: impl Iterator<Item = Result<Vec<u8>, Failure>>, length: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let mut blocks: Vec<Vec<u8>> = vec![Vec::new()];
    for record in records {
        let record = record?;
        match blocks.last_mut() {
            Some(block) if block.len() + record.len() <= length => block.extend(record),
            _ => blocks.push(record),
        }
    }
    Ok(blocks)
}

/// Milliseconds that a processor has worked for this thread.
fn worked() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1_000.0 + time.tv_nsec as f64 / 1e6
}

/// Milliseconds until this many bytes were written to a socket by one thread and read from it by another.
pub fn copying(clock: &Ambient, bytes: u64) -> Result<f64, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let piece = vec![0x5a; PIECE];
        let mut left = bytes;
        while left > 0 {
            let now = piece.get(..usize::try_from(left).unwrap_or(PIECE).min(PIECE)).unwrap_or_default();
            stream.write_all(now)?;
            left -= now.len() as u64;
        }
        Ok(())
    });
    let began = clock.elapsed();
    let mut stream = TcpStream::connect(address)?;
    let mut piece = vec![0; PIECE];
    while stream.read(&mut piece)? > 0 {}
    let millis = clock.elapsed().saturating_sub(began).as_secs_f64() * 1_000.0;
    writer.join().map_err(|_| "the thread that writes")??;
    Ok(millis)
}
