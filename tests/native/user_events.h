// What a native program needs to use user_events: the calls, and steps that print what came of them, a line each.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct user_reg {
    uint32_t size;
    uint8_t enable_bit, enable_size;
    uint16_t flags;
    uint64_t enable_addr, name_args;
    uint32_t write_index;
} __attribute__((packed));

struct user_unreg {
    uint32_t size;
    uint8_t disable_bit, reserved;
    uint16_t reserved2;
    uint64_t disable_addr;
} __attribute__((packed));

#define DIAG_IOCSREG 0xC0082A00
#define DIAG_IOCSDEL 0x40082A01
#define DIAG_IOCSUNREG 0x40082A02

// An enable word of 4 bytes is the first half of one of 8.
static volatile uint64_t enabled __attribute__((aligned(8)));

static void told(const char *step, long result) {
    if (result < 0)
        printf("%s: %s\n", step, strerrorname_np(errno));
    else
        printf("%s: %ld\n", step, result);
    fflush(stdout);
}

static int reg(int fd, const char *text, int bit, int size, uint32_t *index) {
    struct user_reg call = {sizeof call, bit, size, 0, (uintptr_t)&enabled, (uintptr_t)text, 0};
    int result = ioctl(fd, DIAG_IOCSREG, &call);
    *index = call.write_index;
    return result;
}

static int unreg(int fd, int bit) {
    struct user_unreg call = {sizeof call, bit, 0, 0, (uintptr_t)&enabled};
    return ioctl(fd, DIAG_IOCSUNREG, &call);
}

// Whether the bit came to be as wanted within ten seconds.
static int await(int bit, int wanted) {
    for (int turn = 0; turn < 10000; turn++) {
        if ((int)(enabled >> bit & 1) == wanted)
            return 0;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    errno = ETIMEDOUT;
    return -1;
}

static long write_number(int fd, uint32_t index, uint32_t number) {
    uint32_t data[2] = {index, number};
    return write(fd, data, sizeof data);
}
