// ticker FILE EVENT: register, then write one number after the other, a hundred a second, while enabled; until killed.
#include "user_events.h"

int main(int argc, char **argv) {
    char text[256];
    uint32_t index, number = 0;
    if (argc != 3)
        return 2;
    int fd = open(argv[1], O_WRONLY);
    snprintf(text, sizeof text, "%s u32 number", argv[2]);
    told("reg", reg(fd, text, 0, 4, &index));
    for (;;) {
        if (enabled & 1)
            write_number(fd, index, ++number);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
}
