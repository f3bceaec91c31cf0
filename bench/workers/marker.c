/* The kernel's trace_marker (a text of 40 bytes) and trace_marker_raw, written from C. */
#include "loop.h"

#include <fcntl.h>
#include <unistd.h>

static int marker, raw;

static void text(long count)
{
	for (long number = 0; number < count; number++)
		if (write(marker, "bench 1234567 1234567 hello world! ....\n", 40) < 0)
			_exit(1);
}

static void packed(long count)
{
	struct __attribute__((packed)) {
		uint32_t id, number;
		uint64_t total;
		char text[12];
	} record = {1, 0, 0, "hello world"};

	for (long number = 0; number < count; number++) {
		record.number = (uint32_t)number;
		record.total = (uint64_t)number;
		if (write(raw, &record, sizeof record) < 0)
			_exit(1);
	}
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {{"trace_marker", text}, {"trace_marker_raw", packed}, {0}};
	char path[512];

	if (argc != 2)
		return 2;
	snprintf(path, sizeof path, "%s/trace_marker", argv[1]);
	marker = open(path, O_WRONLY);
	snprintf(path, sizeof path, "%s/trace_marker_raw", argv[1]);
	raw = open(path, O_WRONLY);
	if (marker < 0 || raw < 0) {
		perror(path);
		return 1;
	}
	return bench_serve(cases);
}
