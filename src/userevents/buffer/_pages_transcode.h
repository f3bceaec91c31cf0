/* What the two files of the transcoder share: programs, their steps, and the pieces that they fill. */
#ifndef USEREVENTS_PAGES_TRANSCODE_H
#define USEREVENTS_PAGES_TRANSCODE_H

#include "_pages.h"

/* formats/transcode.py says what each does. */
enum {
    LITERAL, WHO, TIME_VARINT, TIME_U64, TIME_DECIMAL, CPU_U32, CPU_DECIMAL, BEGIN, END, PADDED_BODY, SIZE_U16,
    VARINT, RAW, PLAIN, HEX, DECIMAL, JSON, IF_PRESENT, IF_ABSENT, IF_HIGH, IF_LOW, CODES
};

typedef struct {
    unsigned char code;
    uint32_t field, number;
    Py_ssize_t size;
    const char *literal; /* in the tuple that the program keeps */
} Op;

typedef struct {
    PyObject *kept; /* NULL: records of this event are left out */
    Op *ops;
    Py_ssize_t ops_count, readings_count;
    Reading *readings;
} Program;

/* Records of one CPU (or of all) with nothing lost in between. */
typedef struct {
    uint32_t cpu;
    int64_t missed;
    int64_t first_ns, last_ns;
    Py_ssize_t records;
    char *data;
    size_t used, room;
    uint32_t *ends; /* where each record ends in the data, if that is asked for */
    Py_ssize_t ends_room;
} Piece;

typedef struct {
    const Run *run;
    const Program *program;
    PyObject *who;
    const unsigned char *body;
    size_t size;
    int64_t time;
    uint32_t cpu;
} Record;

int read_ops(Program *program, PyObject *ops);
int run_program(Piece *piece, const Record *record, PyObject *quote);

#endif
