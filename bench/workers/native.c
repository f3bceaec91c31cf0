/* An unmodified producer of the kernel's user_events, in C, on whatever stands at /sys/kernel/tracing. */
#define BENCH_CLOCK CLOCK_MONOTONIC /* a write through a door waits for the server of the door */
#include "loop.h"

#include "../../tests/native/user_events.h"

#define TRACING "/sys/kernel/tracing/"
#define EVENT_BIT 0
#define IDLE_BIT 1

static int data;
static uint32_t write_index;

static void declare(const char *name_args, int bit, uint32_t *index)
{
	if (reg(data, name_args, bit, 4, index) < 0) {
		perror("DIAG_IOCSREG");
		exit(1);
	}
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
		if (!(enabled >> EVENT_BIT & 1))
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
		if (enabled >> IDLE_BIT & 1)
			exit(2);
}

int main(void)
{
	static const struct bench_case cases[] = {{"write", emit}, {"nobody listens", off}, {0}};
	uint32_t idle_index;
	int enable;

	data = open(TRACING "user_events_data", O_RDWR);
	if (data < 0) {
		perror(TRACING "user_events_data");
		return 1;
	}
	declare("bench_native u32 number; u64 total; __rel_loc char[] text", EVENT_BIT, &write_index);
	declare("bench_idle u32 number", IDLE_BIT, &idle_index);
	enable = open(TRACING "events/user_events/bench_native/enable", O_WRONLY);
	if (enable < 0 || write(enable, "1", 1) != 1 || close(enable) || !(enabled >> EVENT_BIT & 1)) {
		perror("enable");
		return 1;
	}
	return bench_serve(cases);
}
