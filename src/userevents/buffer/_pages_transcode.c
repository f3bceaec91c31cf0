/* Records as the bytes of another format, by a program for each event: the twin of formats/transcode.py. */
#include "_pages_transcode.h"

#define CPUS_MAX 65536
#define PIECES_MAX (1 << 20)
#define PIECE_FULL (1u << 30) /* a larger one is not added to: ends are 32 bits wide */

PyTypeObject *transcoder_type;

typedef struct {
    PyObject_HEAD
    Program *programs[65536];
    PyObject *plan, *quote;
    Owners owners;
    long long shift;
    int by_cpu, with_ends;
    Piece *pieces;
    Py_ssize_t pieces_used, pieces_room;
    int32_t *current; /* by CPU: the piece that is being filled, -1 for none */
    size_t current_size;
    size_t pending;
    unsigned long long left_out;
} Transcoder;

static PyObject *transcoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plan", "who", "quote", "shift", "by_cpu", "with_ends", NULL};
    PyObject *plan, *who, *quote;
    long long shift = 0;
    int by_cpu = 0, with_ends = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO|Lpp", names, &plan, &who, &quote, &shift, &by_cpu,
                                     &with_ends) ||
        check_shift(shift) < 0)
        return NULL;
    Transcoder *coder = new_object(type);
    if (!coder)
        return NULL;
    coder->plan = Py_NewRef(plan);
    coder->quote = Py_NewRef(quote);
    coder->shift = shift;
    coder->by_cpu = by_cpu;
    coder->with_ends = with_ends;
    if (owners_init(&coder->owners, who) < 0)
        Py_CLEAR(coder);
    return (PyObject *)coder;
}

static int transcoder_traverse(Transcoder *coder, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)coder));
    Py_VISIT(coder->plan);
    Py_VISIT(coder->quote);
    Py_VISIT(coder->owners.callback);
    return 0;
}

static void program_free(Program *program)
{
    Py_XDECREF(program->kept);
    PyMem_Free(program->ops);
    PyMem_Free(program->readings);
    PyMem_Free(program);
}

static void forget_pieces(Transcoder *coder)
{
    for (Py_ssize_t number = 0; number < coder->pieces_used; number++) {
        PyMem_Free(coder->pieces[number].data);
        PyMem_Free(coder->pieces[number].ends);
    }
    coder->pieces_used = 0;
    coder->pending = 0;
    for (size_t cpu = 0; cpu < coder->current_size; cpu++)
        coder->current[cpu] = -1;
}

static void transcoder_dealloc(Transcoder *coder)
{
    PyObject_GC_UnTrack(coder);
    for (size_t id = 0; id < 65536; id++)
        if (coder->programs[id])
            program_free(coder->programs[id]);
    forget_pieces(coder);
    PyMem_Free(coder->pieces);
    PyMem_Free(coder->current);
    Py_XDECREF(coder->plan);
    Py_XDECREF(coder->quote);
    owners_clear(&coder->owners);
    free_object((PyObject *)coder);
}

static Program *program_of(Transcoder *coder, uint16_t id)
{
    if (coder->programs[id])
        return coder->programs[id];
    PyObject *ops, *readings, *decoder, *answer = PyObject_CallFunction(coder->plan, "i", (int)id);
    Program *program = answer ? PyMem_Calloc(1, sizeof *program) : NULL;
    if (!program) {
        Py_XDECREF(answer);
        return answer ? (Program *)PyErr_NoMemory() : NULL;
    }
    if (answer != Py_None) {
        program->kept = Py_NewRef(answer);
        if (!is_tuple(answer) || !PyArg_ParseTuple(answer, "OOO", &ops, &readings, &decoder) || !is_tuple(ops) ||
            !(program->readings = read_plan(readings, &program->readings_count)) || read_ops(program, ops) < 0) {
            Py_DECREF(answer);
            program_free(program);
            return NULL;
        }
    }
    Py_DECREF(answer);
    if (coder->programs[id]) { /* the callback may have asked, too */
        program_free(program);
        return coder->programs[id];
    }
    return coder->programs[id] = program;
}

/* Pieces. */

static Piece *new_piece(Transcoder *coder, uint32_t cpu, const Run *run, int after_gap)
{
    if (coder->pieces_used == coder->pieces_room) {
        Py_ssize_t room = coder->pieces_room ? 2 * coder->pieces_room : 64;
        Piece *pieces = room > PIECES_MAX ? NULL : PyMem_Realloc(coder->pieces, (size_t)room * sizeof *pieces);
        if (!pieces) {
            PyErr_NoMemory();
            return NULL;
        }
        coder->pieces = pieces;
        coder->pieces_room = room;
    }
    coder->pending += sizeof(Piece); /* pages full of gaps must be taken, too */
    coder->current[cpu] = (int32_t)coder->pieces_used;
    Piece *piece = &coder->pieces[coder->pieces_used++];
    *piece = (Piece){.cpu = coder->by_cpu ? cpu : run->cpu, .missed = !after_gap ? 0 : run->missed ? run->missed : -1};
    return piece;
}

static Piece *piece_for(Transcoder *coder, const Run *run, int after_gap)
{
    uint32_t cpu = coder->by_cpu ? run->cpu : 0;
    if (cpu >= CPUS_MAX) {
        PyErr_Format(PyExc_ValueError, "CPU %u is out of range", (unsigned int)cpu);
        return NULL;
    }
    if (cpu >= coder->current_size) {
        size_t size = cpu < 8 ? 16 : 2 * (size_t)cpu;
        int32_t *current = PyMem_Realloc(coder->current, size * sizeof *current);
        if (!current) {
            PyErr_NoMemory();
            return NULL;
        }
        for (size_t each = coder->current_size; each < size; each++)
            current[each] = -1;
        coder->current = current;
        coder->current_size = size;
    }
    int32_t number = coder->current[cpu];
    return number < 0 || after_gap || coder->pieces[number].used > PIECE_FULL ? new_piece(coder, cpu, run, after_gap)
                                                                               : &coder->pieces[number];
}

/* Note that a record of a piece ends here. */
static int put_end(Piece *piece)
{
    if (piece->records == piece->ends_room) {
        Py_ssize_t room = piece->ends_room ? 2 * piece->ends_room : 1024;
        uint32_t *ends = PyMem_Realloc(piece->ends, (size_t)room * sizeof *ends);
        if (!ends) {
            PyErr_NoMemory();
            return -1;
        }
        piece->ends = ends;
        piece->ends_room = room;
    }
    piece->ends[piece->records] = (uint32_t)piece->used;
    return 0;
}

static int add_record(Transcoder *coder, const Run *run, uint32_t number)
{
    uint32_t start = run->starts[number], at = body_start(run, start);
    Record record = {.run = run, .body = run->bytes + at, .size = record_end(run, start) - at, .cpu = run->cpu};
    int32_t tid = (int32_t)load_u32(record.body + 4);
    Piece *piece = NULL;
    if (!number && run->has_gap && !(piece = piece_for(coder, run, 1)))
        return -1;
    record.program = program_of(coder, load_u16(record.body));
    if (!record.program)
        return -1;
    if (!record.program->kept)
        return 0;
    record.time = (int64_t)run->times[number] + coder->shift;
    int holds;
    record.who = owner_of(&coder->owners, run, tid, record.time, &holds);
    if (!record.who)
        return -1;
    int done = record.who == Py_None ? 1 : 0;
    if (!done && (piece = piece_for(coder, run, 0))) {
        size_t used = piece->used;
        done = run_program(piece, &record, coder->quote);
        if (done > 0) {
            piece->used = used;
            coder->left_out++;
        } else if (!done && !(done = coder->with_ends ? put_end(piece) : 0)) {
            piece->first_ns = piece->records++ ? piece->first_ns : record.time;
            piece->last_ns = record.time;
            coder->pending += piece->used - used;
        }
    } else if (!done) {
        done = -1;
    }
    Py_DECREF(record.who);
    return done < 0 ? -1 : 0;
}

static PyObject *transcoder_add(Transcoder *coder, PyObject *argument)
{
    if (Py_TYPE(argument) != batch_type) {
        PyErr_SetString(PyExc_TypeError, "batches are what is transcoded");
        return NULL;
    }
    Batch *batch = (Batch *)argument;
    for (Py_ssize_t part = 0; part < batch->used; part++)
        for (uint32_t number = batch->segments[part].first; number < batch->segments[part].stop; number++)
            if (add_record(coder, batch->segments[part].run, number) < 0)
                return NULL;
    return PyLong_FromSize_t(coder->pending);
}

static PyObject *transcoder_take(Transcoder *coder, PyObject *unused)
{
    (void)unused;
    PyObject *list = PyList_New(0);
    for (Py_ssize_t number = 0; list && number < coder->pieces_used; number++) {
        const Piece *piece = &coder->pieces[number];
        if (!piece->records && !piece->missed)
            continue;
        Py_ssize_t ends_size = piece->ends ? piece->records * (Py_ssize_t)sizeof *piece->ends : 0;
        PyObject *item = Py_BuildValue("InLLLy#y#", (unsigned int)piece->cpu, piece->records, (long long)piece->first_ns,
                                       (long long)piece->last_ns, (long long)piece->missed,
                                       piece->data ? piece->data : "", (Py_ssize_t)piece->used,
                                       piece->ends ? (const char *)piece->ends : "", ends_size);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    if (list)
        forget_pieces(coder);
    return list;
}

static PyObject *transcoder_left_out(Transcoder *coder, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(coder->left_out);
}

static PyMethodDef transcoder_methods[] = {
    {"add", (PyCFunction)transcoder_add, METH_O, "Take in a batch; return how many bytes wait to be taken."},
    {"take", (PyCFunction)transcoder_take, METH_NOARGS,
     "Return [(cpu, records, first time, last time, missed before, bytes, ends)], and begin anew."},
    {NULL},
};

static PyGetSetDef transcoder_getset[] = {
    {"left_out", (getter)transcoder_left_out, NULL, NULL, NULL},
    {NULL},
};

static PyType_Slot transcoder_slots[] = {
    {Py_tp_doc, "Records as the bytes of another format: the native form of transcode.Transcoder."},
    {Py_tp_new, transcoder_new},
    {Py_tp_dealloc, transcoder_dealloc},
    {Py_tp_traverse, transcoder_traverse},
    {Py_tp_methods, transcoder_methods},
    {Py_tp_getset, transcoder_getset},
    {0, NULL},
};

PyType_Spec transcoder_spec = {"userevents.buffer._pages.Transcoder", sizeof(Transcoder), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, transcoder_slots};
