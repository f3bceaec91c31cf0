/* The steps of a transcoder's programs: reading them, and running them for a record. */
#include "_pages_transcode.h"

#define DEPTH_MAX 8

static int is_good(const Op *op, const Program *program, Py_ssize_t left)
{
    if (op->code >= CODES || (op->code == BEGIN && op->number != 0 && op->number != 4))
        return 0;
    if (op->code < VARINT)
        return 1;
    if (op->field >= program->readings_count)
        return 0;
    const Reading *reading = &program->readings[op->field];
    switch (op->code) {
    case VARINT:
    case IF_LOW:
    case IF_HIGH: return reading->kind == INTEGER && (op->code == VARINT || op->number <= left);
    case DECIMAL: return reading->kind == INTEGER || reading->kind == FLOAT;
    case RAW: return (reading->kind == INTEGER || reading->kind == FLOAT) && reading->end - reading->start <= 8;
    case IF_PRESENT:
    case IF_ABSENT: return op->number <= left;
    default: return 1;
    }
}

int read_ops(Program *program, PyObject *ops)
{
    program->ops_count = PyTuple_Size(ops);
    program->ops = PyMem_Calloc((size_t)program->ops_count + 1, sizeof *program->ops);
    if (!program->ops) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t number = 0; number < program->ops_count; number++) {
        Op *op = &program->ops[number];
        PyObject *given = PyTuple_GetItem(ops, number);
        int code;
        if (!is_tuple(given) || !PyArg_ParseTuple(given, "iIIy#", &code, &op->field, &op->number, &op->literal, &op->size))
            return -1;
        op->code = code < 0 || code >= CODES ? CODES : (unsigned char)code;
        if (!is_good(op, program, program->ops_count - number - 1)) {
            PyErr_Format(PyExc_ValueError, "step %zd of a program makes no sense (%d)", number, code);
            return -1;
        }
    }
    return 0;
}

static char *reserve(Piece *piece, size_t size)
{
    if (piece->room - piece->used < size) {
        size_t room = 2 * piece->room + size + 256;
        char *data = PyMem_Realloc(piece->data, room);
        if (!data) {
            PyErr_NoMemory();
            return NULL;
        }
        piece->data = data;
        piece->room = room;
    }
    return piece->data + piece->used;
}

static int put(Piece *piece, const void *data, size_t size)
{
    char *at = reserve(piece, size);
    if (!at)
        return -1;
    if (size)
        memcpy(at, data, size);
    piece->used += size;
    return 0;
}

static size_t varint(char *at, uint64_t number)
{
    size_t size = 0;
    for (; number > 127; number >>= 7)
        at[size++] = (char)(number | 128);
    at[size++] = (char)number;
    return size;
}

static int put_varint(Piece *piece, uint64_t number)
{
    char *at = reserve(piece, 10);
    if (!at)
        return -1;
    piece->used += varint(at, number);
    return 0;
}

static int put_decimal(Piece *piece, int64_t number, int is_signed)
{
    char digits[24], *at = digits + sizeof digits;
    int is_negative = is_signed && number < 0;
    uint64_t rest = is_negative ? -(uint64_t)number : (uint64_t)number;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (is_negative)
        *--at = '-';
    return put(piece, at, (size_t)(digits + sizeof digits - at));
}

static int is_ascii(Span span)
{
    uint64_t all = 0;
    size_t at = 0;
    for (; at + 8 <= span.size; at += 8)
        all |= load_u64(span.data + at);
    for (; at < span.size; at++)
        all |= span.data[at];
    return !(all & UINT64_C(0x8080808080808080));
}

static int put_hex(Piece *piece, Span span)
{
    char *at = reserve(piece, 2 * span.size);
    if (!at)
        return -1;
    for (size_t number = 0; number < span.size; number++) {
        *at++ = "0123456789abcdef"[span.data[number] >> 4];
        *at++ = "0123456789abcdef"[span.data[number] & 15];
    }
    piece->used += 2 * span.size;
    return 0;
}

/* Text that is UTF-8 as it is; other bytes in it become \xNN. */
static int put_text(Piece *piece, Span span)
{
    if (is_ascii(span))
        return put(piece, span.data, span.size);
    Py_ssize_t size;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)span.data, (Py_ssize_t)span.size, "backslashreplace");
    const char *bytes = text ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    int done = bytes ? put(piece, bytes, (size_t)size) : -1;
    Py_XDECREF(text);
    return done;
}

/* Put what the caller's `quote` makes of a value; it takes `value`. */
static int put_quoted(PyObject *quote, Piece *piece, PyObject *value)
{
    PyObject *quoted = value ? PyObject_CallFunctionObjArgs(quote, value, NULL) : NULL;
    char *bytes;
    Py_ssize_t size;
    int done = quoted && PyBytes_AsStringAndSize(quoted, &bytes, &size) == 0 ? put(piece, bytes, (size_t)size) : -1;
    Py_XDECREF(quoted);
    Py_XDECREF(value);
    return done;
}

static int put_float(PyObject *quote, Piece *piece, const unsigned char *data)
{
    double number;
    memcpy(&number, data, 8);
    if (number - number != 0) /* not finite */
        return put_quoted(quote, piece, PyFloat_FromDouble(number));
    char *text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!text) {
        PyErr_NoMemory();
        return -1;
    }
    int done = put(piece, text, strlen(text));
    PyMem_Free(text);
    return done;
}

static int needs_quoting(Span span)
{
    int bad = 0;
    for (size_t at = 0; at < span.size; at++)
        bad |= (span.data[at] < 0x20) | (span.data[at] > 0x7E) | (span.data[at] == '\\') | (span.data[at] == '"');
    return bad;
}

static int put_json(PyObject *quote, Piece *piece, const Reading *reading, Span span)
{
    if (!span.data)
        return put(piece, "null", 4);
    if (reading->kind == INTEGER)
        return put_decimal(piece, signed_of(reading, span.data), reading->is_signed);
    if (reading->kind == FLOAT)
        return put_float(quote, piece, span.data);
    if (!is_text(reading->kind))
        return put(piece, "{\"hex\":\"", 8) < 0 || put_hex(piece, span) < 0 ? -1 : put(piece, "\"}", 2);
    if (!needs_quoting(span))
        return put(piece, "\"", 1) < 0 || put(piece, span.data, span.size) < 0 ? -1 : put(piece, "\"", 1);
    return put_quoted(quote, piece,
                      PyUnicode_DecodeUTF8((const char *)span.data, (Py_ssize_t)span.size, "backslashreplace"));
}

static size_t padded_size(const Record *record) { return (4 + record->size + 7) / 8 * 8; }

static int put_padded_body(Piece *piece, const Record *record)
{
    size_t whole = padded_size(record);
    char *at = reserve(piece, whole);
    if (!at)
        return -1;
    store_u32(at, (uint32_t)(whole - 4));
    memcpy(at + 4, record->body, record->size);
    memset(at + 4 + record->size, 0, whole - 4 - record->size);
    piece->used += whole;
    return 0;
}

/* One step that is about no field. 1: the record does not fit this format. */
static int put_plain(Piece *piece, const Record *record, const Op *op)
{
    uint16_t total;
    char *bytes;
    Py_ssize_t size;
    switch (op->code) {
    case LITERAL: return put(piece, op->literal, (size_t)op->size);
    case WHO:
        return PyBytes_AsStringAndSize(record->who, &bytes, &size) < 0 ? -1 : put(piece, bytes, (size_t)size);
    case TIME_VARINT: return put_varint(piece, (uint64_t)record->time);
    case TIME_U64: return put(piece, &record->time, 8);
    case TIME_DECIMAL: return put_decimal(piece, record->time, 1);
    case CPU_U32: return put(piece, &record->cpu, 4);
    case CPU_DECIMAL: return put_decimal(piece, record->cpu, 0);
    case PADDED_BODY: return put_padded_body(piece, record);
    default: /* SIZE_U16 */
        if (op->number + padded_size(record) > 65535)
            return 1;
        total = (uint16_t)(op->number + padded_size(record));
        return put(piece, &total, 2);
    }
}

/* One step that writes a field's value; where the record does not hold it, 0 or nothing. */
static int put_field(PyObject *quote, Piece *piece, const Op *op, const Reading *reading, Span span)
{
    static const unsigned char zeros[8];
    switch (op->code) {
    case VARINT: return put_varint(piece, span.data ? (uint64_t)signed_of(reading, span.data) : 0);
    case RAW: return put(piece, span.data ? span.data : zeros, reading->end - reading->start);
    case PLAIN: return is_text(reading->kind) ? put_text(piece, span) : put(piece, span.data, span.size);
    case HEX: return put_hex(piece, span);
    case DECIMAL:
        if (!span.data)
            return put(piece, "0", 1);
        return reading->kind == FLOAT ? put_float(quote, piece, span.data)
                                      : put_decimal(piece, signed_of(reading, span.data), reading->is_signed);
    default: return put_json(quote, piece, reading, span);
    }
}

static int is_skipped(const Op *op, const Reading *reading, Span span)
{
    switch (op->code) {
    case IF_PRESENT: return !span.data;
    case IF_ABSENT: return span.data != NULL;
    default:
        return !span.data || (!reading->is_signed && signed_of(reading, span.data) < 0) == (op->code == IF_LOW);
    }
}

/* Put the size of what was written since `begin` before it. A varint has one byte there already, a u32 four. */
static int put_size(Piece *piece, size_t begin, uint32_t width)
{
    size_t size = piece->used - begin - (width ? width : 1);
    if (width) {
        store_u32(piece->data + begin, (uint32_t)size);
        return 0;
    }
    char digits[10];
    size_t length = varint(digits, size);
    if (length > 1) {
        if (!reserve(piece, length - 1))
            return -1;
        memmove(piece->data + begin + length, piece->data + begin + 1, size);
        piece->used += length - 1;
    }
    memcpy(piece->data + begin, digits, length);
    return 0;
}

int run_program(Piece *piece, const Record *record, PyObject *quote)
{
    struct {
        size_t at;
        uint32_t width;
    } open[DEPTH_MAX];
    int depth = 0;
    const Program *program = record->program;
    for (Py_ssize_t number = 0; number < program->ops_count; number++) {
        const Op *op = &program->ops[number];
        int done = 0;
        if (op->code == BEGIN) {
            if (depth == DEPTH_MAX)
                goto unbalanced;
            open[depth].at = piece->used;
            open[depth++].width = op->number;
            done = put(piece, "\0\0\0\0", op->number ? op->number : 1);
        } else if (op->code == END) {
            if (!depth)
                goto unbalanced;
            depth--;
            done = put_size(piece, open[depth].at, open[depth].width);
        } else if (op->code < VARINT) {
            done = put_plain(piece, record, op);
        } else {
            const Reading *reading = &program->readings[op->field];
            Span span = span_of(reading, record->body, record->size);
            if (op->code < IF_PRESENT)
                done = put_field(quote, piece, op, reading, span);
            else if (is_skipped(op, reading, span))
                number += op->number;
        }
        if (done)
            return done;
    }
    if (!depth)
        return 0;
unbalanced:
    PyErr_SetString(PyExc_ValueError, "a program's beginnings and ends do not match");
    return -1;
}
