// socket_writer FILE|fd:N COUNT RATE: write COUNT events, RATE a second (0: as fast as it goes), and print, in
// nanoseconds, the median write, the longest, how many took longer than 10 ms, and how long all of it took.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct user_reg { uint32_t size; uint8_t bit, word_size; uint16_t flags; uint64_t addr, name; uint32_t index; } __attribute__((packed));

static uint32_t word;
static uint32_t *times;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    long count = atol(argv[2]), rate = atol(argv[3]), slow = 0;
    struct user_reg call = {sizeof call, 0, 4, 0, (uintptr_t)&word, (uintptr_t)"bench u32 a; u32 b", 0};
    int fd = strncmp(argv[1], "fd:", 3) ? open(argv[1], O_WRONLY) : atoi(argv[1] + 3);
    if (fd < 0 || (strncmp(argv[1], "fd:", 3) && ioctl(fd, 0xC0082A00, &call)))
        return perror(argv[1]), 1;
    times = malloc(count * sizeof *times);
    memset(times, 0, count * sizeof *times);
    int64_t began = now(), period = rate ? 1000000000ll * 64 / rate : 0;
    for (long i = 0; i < count; i++) {
        uint32_t data[3] = {call.index, i, i};
        while (period && i % 64 == 0 && now() < began + i / 64 * period)
            ;
        int64_t start = now();
        if (write(fd, data, sizeof data) != sizeof data)
            return perror("write"), 1;
        int64_t took = now() - start;
        times[i] = took > UINT32_MAX ? UINT32_MAX : took;
        slow += took > 10000000;
    }
    int64_t all = now() - began;
    qsort(times, count, sizeof *times, by_size);
    printf("%u %u %ld %lld\n", times[count / 2], times[count - 1], slow, (long long)all);
    return 0;
}
