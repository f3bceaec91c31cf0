// producer FILE EVENT GOROUTINES WRITES: what a static Go program does that knows no libc.
//
// Goroutines move from thread to thread between their writes, and the runtime stops threads by signals wherever they
// are: its collector runs all the time, its profiler, and a timer that tells every millisecond. In the meantime programs
// are started, which share this memory until their exec.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type userReg struct {
	size       uint32
	enableBit  uint8
	enableSize uint8
	flags      uint16
	enableAddr uint64
	nameArgs   uint64
	writeIndex uint32
	_          uint32 // Go knows no packed structures: what comes after the index is not in size
}

type userUnreg struct {
	size        uint32
	disableBit  uint8
	_           [3]uint8
	disableAddr uint64
}

const (
	regSize   = 28
	unregSize = 16
	reg       = 0xC0082A00
	unreg     = 0x40082A02
	atFdcwd   = ^uintptr(99)
	timerReal = 0
)

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func ioctl(file uintptr, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

func register(file uintptr, word *uint32, text string) (uint32, error) {
	name, err := syscall.BytePtrFromString(text)
	if err != nil {
		return 0, err
	}
	call := userReg{size: regSize, enableSize: 4, enableAddr: uint64(uintptr(unsafe.Pointer(word))), nameArgs: uint64(uintptr(unsafe.Pointer(name)))}
	err = ioctl(file, reg, unsafe.Pointer(&call))
	runtime.KeepAlive(name)
	return call.writeIndex, err
}

func write(file uintptr, index, number uint32) (uintptr, error) {
	pieces := [2]syscall.Iovec{
		{Base: (*byte)(unsafe.Pointer(&index)), Len: 4},
		{Base: (*byte)(unsafe.Pointer(&number)), Len: 4},
	}
	n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, file, uintptr(unsafe.Pointer(&pieces)), uintptr(len(pieces)))
	if errno != 0 {
		return n, errno
	}
	return n, nil
}

func wait(word *uint32, wanted uint32) error {
	for end := time.Now().Add(10 * time.Second); atomic.LoadUint32(word) != wanted; {
		if time.Now().After(end) {
			return syscall.ETIMEDOUT
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func produce(file uintptr, word *uint32, index uint32, writes uint32) (written uint32, err error) {
	if err := wait(word, 1); err != nil {
		return 0, fmt.Errorf("on: %w", err)
	}
	for turn := uint32(0); turn < writes; turn++ {
		size, err := write(file, index, turn)
		if err != nil {
			return written, fmt.Errorf("write: %w", err)
		}
		if size == 8 {
			written++
		}
		runtime.Gosched()
	}
	return written, wait(word, 0)
}

// interrupt makes signals come to threads that wait for us in a call.
func interrupt() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGALRM)
	every := [4]int64{0, 1000, 0, 1000}
	_, _, errno := syscall.Syscall(syscall.SYS_SETITIMER, timerReal, uintptr(unsafe.Pointer(&every)), 0)
	if errno != 0 {
		check(errno)
	}
	check(pprof.StartCPUProfile(io.Discard))
	go func() {
		for {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}()
}

func word(page []byte, number int) *uint32 {
	return (*uint32)(unsafe.Pointer(&page[4*number]))
}

func init() {
	runtime.LockOSThread() // a registration is its thread's: from another one unregistering it is ENOENT
}

func main() {
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	writes, err := strconv.Atoi(os.Args[4])
	check(err)
	name, err := syscall.BytePtrFromString(os.Args[1])
	check(err)
	file, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, atFdcwd, uintptr(unsafe.Pointer(name)), syscall.O_WRONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		check(errno)
	}
	page, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	check(err)
	interrupt()
	indices := make([]uint32, count)
	for i := range indices {
		indices[i], err = register(file, word(page, i), fmt.Sprintf("%s%d u32 number", os.Args[2], i))
		check(err)
	}
	results := make([]string, count)
	ended := make(chan bool)
	for i := range results {
		go func(i int) {
			written, err := produce(file, word(page, i), indices[i], uint32(writes))
			results[i] = fmt.Sprintf("%d %v", written, err)
			ended <- true
		}(i)
	}
	for range results {
		check(exec.Command("true").Run())
	}
	for range results {
		<-ended
	}
	for i, result := range results {
		call := userUnreg{size: unregSize, disableAddr: uint64(uintptr(unsafe.Pointer(word(page, i))))}
		fmt.Printf("goroutine %d: %s, unreg: %v\n", i, result, ioctl(file, unreg, unsafe.Pointer(&call)))
	}
}
