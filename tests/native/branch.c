// branch FILE EVENT: a child takes the registration that it inherited back and makes it anew; its own child inherits it.
#include <sys/wait.h>

#include "user_events.h"

int main(int argc, char **argv) {
    char text[256];
    uint32_t index;
    int status, fd = argc == 3 ? open(argv[1], O_WRONLY) : -1;
    if (fd < 0)
        return 2;
    snprintf(text, sizeof text, "%s u32 number", argv[2]);
    told("reg", reg(fd, text, 0, 4, &index));
    told("await on", await(0, 1));
    told("reg another bit", reg(fd, text, 7, 4, &index));
    enabled &= ~0x80ull;  // its own business: nobody sets it again before the event is switched
    if (!fork()) {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        told("child: the bit that was cleared", enabled >> 7 & 1);
        told("child: unreg", unreg(fd, 0));
        told("child's bit", enabled & 1);
        told("child: reg", reg(fd, text, 0, 4, &index));
        told("child's bit", enabled & 1);
        if (!fork()) {
            told("grandchild: reg again", reg(fd, text, 0, 4, &index));
            told("grandchild writes", write_number(fd, index, 1));
            return 0;
        }
        wait(&status);
        return 0;
    }
    wait(&status);
    told("parent's bit", enabled & 1);
    told("parent: reg again", reg(fd, text, 0, 4, &index));
    told("await off", await(0, 0));
    told("unreg", unreg(fd, 0));
    return 0;
}
