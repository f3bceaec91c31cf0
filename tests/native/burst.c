// burst FILE EVENT FIRST COUNT: register, say whether the bit was born set, and write COUNT numbers while it is.
#include "user_events.h"

int main(int argc, char **argv) {
    char text[256];
    uint32_t index, written = 0;
    int fd = argc == 5 ? open(argv[1], O_WRONLY) : -1;
    if (fd < 0)
        return perror("open"), 3;
    snprintf(text, sizeof text, "%s u32 number", argv[2]);
    if (reg(fd, text, 0, 4, &index))
        return perror("reg"), 4;
    told("born", enabled & 1);
    uint32_t first = atoi(argv[3]), count = atoi(argv[4]);
    for (uint32_t number = first; number < first + count && enabled & 1; number++)
        written += write_number(fd, index, number) == 8;
    told("written", written);
    return 0;
}
