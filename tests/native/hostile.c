// hostile FILE TRAP: register with a word, then with a name, in memory whose bytes never come; then with good memory.
#include <sys/mman.h>

#include "user_events.h"

int main(int argc, char **argv) {
    struct user_reg call = {sizeof call, 0, 4, 0, 0, (uintptr_t)"hostile u32 number", 0};
    uint32_t index;
    if (argc != 3)
        return 2;
    int fd = open(argv[1], O_WRONLY), trap = open(argv[2], O_RDWR);
    char *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE, trap, 0);
    if (fd < 0 || trap < 0 || memory == MAP_FAILED)
        return perror("hostile"), 1;
    call.enable_addr = (uintptr_t)memory;
    told("word", ioctl(fd, DIAG_IOCSREG, &call));
    call.enable_addr = (uintptr_t)&enabled;
    call.name_args = (uintptr_t)memory;
    told("name", ioctl(fd, DIAG_IOCSREG, &call));
    told("good", reg(fd, "hostile u32 number", 0, 4, &index));
    return 0;
}
