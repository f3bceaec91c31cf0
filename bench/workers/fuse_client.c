// fuse_client FILE: register, say so, and for each line "write N" or "reg N" of input make N calls and print the
// fastest and the median in nanoseconds and all of them in microseconds.
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
struct user_unreg { uint32_t size; uint8_t bit, zero; uint16_t zero2; uint64_t addr; } __attribute__((packed));

static uint32_t word;
static int64_t times[1 << 17];

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int by_size(const void *one, const void *other) {
    int64_t difference = *(const int64_t *)one - *(const int64_t *)other;
    return (difference > 0) - (difference < 0);
}

static int reg(int fd, int bit, uint32_t *index) {
    struct user_reg call = {sizeof call, bit, 4, 0, (uintptr_t)&word, (uintptr_t)"bench u32 a; u32 b", 0};
    int result = ioctl(fd, 0xC0082A00, &call);
    *index = call.index;
    return result;
}

int main(int argc, char **argv) {
    char verb[16], line[64];
    uint32_t index = 0, other;
    int fd = argc == 2 ? open(argv[1], O_WRONLY) : -1;
    if (fd < 0 || reg(fd, 0, &index))
        return perror("user_events_data"), 1;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int count = 0, writes;
        if (sscanf(line, "%15s %d", verb, &count) < 1 || count >= 1 << 17)
            return 2;
        writes = !strcmp(verb, "write");
        int64_t began = now();
        for (int i = 0; i < count; i++) {
            uint32_t data[3] = {index, i, i};
            int64_t start = now();
            if (writes ? write(fd, data, sizeof data) != sizeof data : reg(fd, 1, &other))
                return perror(verb), 1;
            times[i] = now() - start;
            if (!writes) {
                struct user_unreg call = {sizeof call, 1, 0, 0, (uintptr_t)&word};
                if (ioctl(fd, 0x40082A02, &call))
                    return perror("unreg"), 1;
            }
        }
        int64_t all = now() - began;
        qsort(times, count, sizeof *times, by_size);
        printf("%lld %lld %lld\n", (long long)times[0], (long long)times[count / 2], (long long)all / 1000);
        fflush(stdout);
    }
    return 0;
}
