/* An unmodified producer of the kernel's user_events, in C, on whatever stands at /sys/kernel/tracing. */
#define BENCH_CLOCK CLOCK_MONOTONIC /* a write through a door waits for the server of the door */
#include "loop.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing/"

struct user_reg {
	uint32_t size;
	uint8_t enable_bit, enable_size;
	uint16_t flags;
	uint64_t enable_addr, name_args;
	uint32_t write_index;
} __attribute__((packed));

static volatile uint32_t enabled, idle;
static int data;
static uint32_t write_index;

static uint32_t declare(const char *name_args, volatile uint32_t *word)
{
	struct user_reg reg = {sizeof reg, 0, 4, 0, (uintptr_t)word, (uintptr_t)name_args, 0};

	if (ioctl(data, _IOWR('*', 0, struct user_reg *), &reg) < 0) {
		perror("DIAG_IOCSREG");
		exit(1);
	}
	return reg.write_index;
}

static void emit(long count)
{
	struct __attribute__((packed)) {
		uint32_t number;
		uint64_t total;
		uint32_t text;
		char characters[13];
	} payload = {.text = 13 << 16, .characters = "hello world!"};
	struct iovec parts[2] = {{&write_index, sizeof write_index}, {&payload, sizeof payload}};

	for (long number = 0; number < count; number++) {
		if (!(enabled & 1))
			exit(2);
		payload.number = (uint32_t)number;
		payload.total = (uint64_t)number;
		if (writev(data, parts, 2) < 0)
			exit(3);
	}
}

static void off(long count)
{
	for (long number = 0; number < count; number++)
		if (idle & 1)
			exit(2);
}

int main(void)
{
	static const struct bench_case cases[] = {{"write", emit}, {"nobody listens", off}, {0}};
	int enable;

	data = open(TRACING "user_events_data", O_RDWR);
	if (data < 0) {
		perror(TRACING "user_events_data");
		return 1;
	}
	write_index = declare("bench_native u32 number; u64 total; __rel_loc char[] text", &enabled);
	declare("bench_idle u32 number", &idle);
	enable = open(TRACING "events/user_events/bench_native/enable", O_WRONLY);
	if (enable < 0 || write(enable, "1", 1) != 1 || close(enable) || !(enabled & 1)) {
		perror("enable");
		return 1;
	}
	return bench_serve(cases);
}
