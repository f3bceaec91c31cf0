// producer FILE EVENT THREADS WRITES: what the Rust crates for user_events do, from several threads.
//
// Each thread has an event and an enable word (an atomic that stays where it is) of its own; an event is written in
// pieces: its index, eight bytes of header, what describes the payload, the payload. In the meantime programs are
// started, which share this memory until their exec.
use std::env::args;
use std::ffi::CString;
use std::io::Error;
use std::os::raw::{c_char, c_int, c_long, c_ulong, c_void};
use std::process::{exit, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const AT_FDCWD: c_int = -100;
const O_WRONLY: c_int = 1;
const FIELDS: &str = "u8 eventheader_flags;u8 version;u16 id;u16 tag;u8 opcode;u8 level";
const WORDS: usize = 32;

#[repr(C, packed)]
struct UserReg {
    size: u32,
    enable_bit: u8,
    enable_size: u8,
    flags: u16,
    enable_addr: u64,
    name_args: u64,
    write_index: u32,
}

#[repr(C, packed)]
struct UserUnreg {
    size: u32,
    disable_bit: u8,
    reserved: [u8; 3],
    disable_addr: u64,
}

#[repr(C)]
struct IoVec {
    base: *const c_void,
    size: usize,
}

extern "C" {
    fn openat(directory: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    fn ioctl(file: c_int, request: c_ulong, ...) -> c_int;
    fn writev(file: c_int, pieces: *const IoVec, count: c_int) -> c_long;
}

// _IOC(direction, '*', number, size): the size is that of the pointer.
const fn request(direction: c_ulong, number: c_ulong) -> c_ulong {
    direction << 30 | (std::mem::size_of::<usize>() as c_ulong) << 16 | (b'*' as c_ulong) << 8 | number
}

const REG: c_ulong = request(3, 0);
const UNREG: c_ulong = request(1, 2);
static ENABLED: [AtomicU32; WORDS] = {
    #[allow(clippy::declare_interior_mutable_const)]
    const OFF: AtomicU32 = AtomicU32::new(0);
    [OFF; WORDS]
};

fn result(value: c_long) -> Result<c_long, i32> {
    if value < 0 {
        Err(Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(value)
    }
}

fn register(file: c_int, word: &'static AtomicU32, text: &str) -> Result<u32, i32> {
    let text = CString::new(text).unwrap();
    let mut call = UserReg {
        size: std::mem::size_of::<UserReg>() as u32,
        enable_bit: 0,
        enable_size: 4,
        flags: 0,
        enable_addr: word as *const AtomicU32 as u64,
        name_args: text.as_ptr() as u64,
        write_index: 0,
    };
    result(unsafe { ioctl(file, REG, &mut call) } as c_long)?;
    Ok(call.write_index)
}

fn unregister(file: c_int, word: &'static AtomicU32) -> Result<c_long, i32> {
    let call = UserUnreg {
        size: std::mem::size_of::<UserUnreg>() as u32,
        disable_bit: 0,
        reserved: [0; 3],
        disable_addr: word as *const AtomicU32 as u64,
    };
    result(unsafe { ioctl(file, UNREG, &call) } as c_long)
}

fn write(file: c_int, index: u32, number: u32) -> Result<c_long, i32> {
    let header = [7u8, 0, 0, 0, 0, 0, 0, 4]; // little endian, 64 bits, with an extension; level 4
    let described = b"\x0f\x00\x01\x00Number\0number\0\x04"; // an extension of 15 bytes: name, and a field of 32 bits
    let index = index.to_le_bytes();
    let number = number.to_le_bytes();
    let pieces: Vec<IoVec> = [&index[..], &header[..], &described[..], &number[..]]
        .iter()
        .map(|piece| IoVec { base: piece.as_ptr() as *const c_void, size: piece.len() })
        .collect();
    result(unsafe { writev(file, pieces.as_ptr(), pieces.len() as c_int) })
}

fn wait(word: &AtomicU32, wanted: u32) -> Result<(), i32> {
    for _ in 0..10_000 {
        if word.load(Ordering::Relaxed) == wanted {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(110)
}

fn produce(file: c_int, number: usize, event: &str, writes: u32) -> Result<u32, i32> {
    let word = &ENABLED[number];
    let index = register(file, word, &format!("{event}{number} {FIELDS}"))?;
    wait(word, 1)?;
    let mut written = 0;
    for turn in 0..writes {
        written += (write(file, index, turn)? == 35) as u32;
    }
    wait(word, 0)?;
    unregister(file, word)?;
    Ok(written)
}

fn main() {
    let words: Vec<String> = args().collect();
    let path = CString::new(words[1].as_str()).unwrap();
    let event = words[2].clone();
    let (count, writes): (usize, u32) = (words[3].parse().unwrap(), words[4].parse().unwrap());
    let file = unsafe { openat(AT_FDCWD, path.as_ptr(), O_WRONLY) };
    if file < 0 {
        println!("open: {}", Error::last_os_error());
        exit(1);
    }
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let event = event.clone();
            thread::spawn(move || produce(file, number, &event, writes))
        })
        .collect();
    for _ in 0..count {
        assert!(Command::new("true").status().unwrap().success());
    }
    for (number, thread) in threads.into_iter().enumerate() {
        println!("thread {number}: {:?}", thread.join().unwrap());
    }
}
