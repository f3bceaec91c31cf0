// shapes PLACE EVENT: the file opened in every way that a program may name it, and what an exec leaves of it.
#include "user_events.h"

static void opened(const char *how, int fd) {
    uint32_t index;
    char text[64];
    static int bit;
    snprintf(text, sizeof text, "shape%d u32 number", bit);
    told(how, fd < 0 ? -1 : reg(fd, text, bit++, 4, &index));
}

int main(int argc, char **argv) {
    char path[256];
    if (argc == 4) {
        int kept = atoi(argv[3]);
        told("after exec", fcntl(kept, F_GETFD));
        told("closed on exec", fcntl(kept + 1, F_GETFD));
        return 0;
    }
    snprintf(path, sizeof path, "%s/user_events_data", argv[1]);
    int kept = open(path, O_WRONLY), closed = open(path, O_RDWR | O_CLOEXEC);
    opened("absolute", kept);
    opened("close on exec", closed);
    told("its flag", fcntl(closed, F_GETFD));
    snprintf(path, sizeof path, "%s/./../%s/user_events_data", argv[1], strrchr(argv[1], '/') + 1);
    opened("through dots", open(path, O_WRONLY));
    int directory = open(argv[1], O_RDONLY | O_DIRECTORY);
    opened("relative to a directory", openat(directory, "user_events_data", O_WRONLY));
    if (chdir(argv[1]))
        return 1;
    opened("relative to where we are", open("user_events_data", O_WRONLY));
    opened("by a link", open(argv[2], O_WRONLY));
    told("another file", open("/dev/null", O_WRONLY) < 0 ? -1 : 0);
    told("a file that is not there", open("user_events_datum", O_WRONLY | O_CREAT, 0600));
    char number[16];
    snprintf(number, sizeof number, "%d", kept);
    execl("/proc/self/exe", argv[0], argv[1], argv[2], number, NULL);
    return 1;
}
