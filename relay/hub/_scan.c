/* The loop of relay/hub/shortcut.py in C: ordinary pictures of one connection, from packets to FLV tags. Optional: without it the loop runs in Python,
 * and tests/hub/test_shortcut.py holds both to the same bytes.
 *
 * Whatever a terminal sends may be in the buffer. Nothing is read at or behind `fill`, and nothing is written behind the output, which cannot be
 * longer than the input: a picture loses at least 30 bytes of header and 4 of start code, and gets 24.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { ATOMIC = 0, FIRST = 1, LAST = 2, MIDDLE = 3 };
enum { TAG = 20, START_CODE = 4 };

/* What `rule` begins with, as 64-bit numbers in network order. Behind them are SIM and channel as in the packets, then the two tables of
 * relay.hub.picture.PLAIN_BYTES. */
enum {
    HEADER,     /* bytes of a packet before its body */
    BEGINNING,  /* bytes of a body that are looked at: start code to slice header */
    MIDDLE_M,   /* the M bit of packets that are not the last of their picture */
    LAST_M,     /* and of those that are */
    OFFSET,     /* time stamps minus output clock */
    EASY,       /* the longest step between two stamps */
    PACKET_MAX, /* a longer packet that has not wholly come is not waited for */
    LEAD,       /* two words of an FLV tag, behind its stamp */
    SECOND,
    NUMBERS
};

static uint32_t be16(const unsigned char *p) { return (uint32_t)p[0] << 8 | p[1]; }

static uint64_t be64(const unsigned char *p)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | p[i];
    return value;
}

static unsigned char *put32(unsigned char *p, uint32_t value)
{
    p[0] = (unsigned char)(value >> 24);
    p[1] = (unsigned char)(value >> 16);
    p[2] = (unsigned char)(value >> 8);
    p[3] = (unsigned char)value;
    return p + 4;
}

/* Whether 00 00 01 stands there. */
static int holds_start_code(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *at = p + 2;
    while (at < end && (at = memchr(at, 1, (size_t)(end - at))) != NULL) {
        if (at[-1] == 0 && at[-2] == 0)
            return 1;
        at++;
    }
    return 0;
}

PyDoc_STRVAR(scan_doc,
"scan(data, fill, rule, word, stamp) -> (out, pos, at, looked, packets, stamp, step, frames, usual)\n\n"
"Take the ordinary pictures that data[:fill] begins with. word is bytes 0-7 of the packet before, without M, and stamp its time stamp.\n"
"out: their FLV tags, or None; pos, at: where they end, and where the last of their packets begins; looked: the packet looked at last;\n"
"packets: of the pictures; stamp, step: of the last one; frames: how many; usual: what is left is but not whole yet.");

static PyObject *scan(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 5 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "scan(data: bytes, fill, rule: bytes, word, stamp)");
        return NULL;
    }
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    const Py_ssize_t fill = PyLong_AsSsize_t(args[1]);
    const uint64_t word = PyLong_AsUnsignedLongLong(args[3]);
    uint64_t stamp = PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred())
        return NULL;

    uint64_t rule[NUMBERS];
    const unsigned char *rules = (const unsigned char *)PyBytes_AS_STRING(args[2]);
    const Py_ssize_t key_size = PyBytes_GET_SIZE(args[2]) - 8 * NUMBERS - 512;
    if (key_size == 7 || key_size == 11)
        for (int i = 0; i < NUMBERS; i++)
            rule[i] = be64(rules + 8 * i);
    else
        rule[HEADER] = rule[BEGINNING] = 0;
    /* magic to number, SIM and channel, kind and mark, stamp, two intervals, length */
    if (rule[HEADER] != 8 + (uint64_t)key_size + 1 + 8 + 4 + 2 || rule[BEGINNING] < 6 || rule[BEGINNING] > 8) {
        PyErr_SetString(PyExc_ValueError, "not a rule");
        return NULL;
    }
    const unsigned char *key = rules + 8 * NUMBERS;
    const unsigned char *units = key + key_size;
    const unsigned char *slices = units + 256;
    const Py_ssize_t header = (Py_ssize_t)rule[HEADER];
    const Py_ssize_t reach = header + (Py_ssize_t)rule[BEGINNING];
    const Py_ssize_t kind_at = 8 + key_size;
    if (fill < 0 || fill > PyBytes_GET_SIZE(args[0])) {
        PyErr_SetString(PyExc_ValueError, "not inside the data");
        return NULL;
    }

    PyObject *out = NULL;
    unsigned char *write = NULL;
    Py_ssize_t pos = 0, at = 0, looked = 0, last_at = 0;
    uint64_t packets = 0, step = 0, frames = 0;
    int usual = 1;
    while (pos + reach <= fill) {
        const unsigned char *p = data + pos;
        const unsigned char kind = p[kind_at] & 0xF0;
        const unsigned char mark = p[kind_at] & 0x0F;
        const uint64_t ts = be64(p + kind_at + 1);
        const unsigned char *body = p + header;
        uint32_t length = be16(body - 2);
        at = looked = pos;
        usual = memcmp(p + 8, key, (size_t)key_size) == 0 && kind <= 0x20 && (mark == FIRST || mark == ATOMIC) && length >= 8 &&
                be64(p) == word + packets + 1 + (mark == FIRST ? rule[MIDDLE_M] : rule[LAST_M]) && ts > stamp && ts - stamp <= rule[EASY] &&
                memcmp(body, "\0\0\0\1", START_CODE) == 0 && units[body[4]] && slices[body[rule[BEGINNING] - 1]];
        if (!usual)
            break;
        Py_ssize_t end = pos + header + length;
        uint64_t count = 1;
        if (mark == FIRST) {
            int whole = 0;
            at = end;
            while (at + header <= fill) {
                const unsigned char *q = data + at;
                looked = at;
                length = be16(q + header - 2);
                end = at + header + length;
                count++;
                usual = memcmp(q + 8, key, (size_t)key_size) == 0 && be64(q + kind_at + 1) == ts;
                if (usual && q[kind_at] == (kind | MIDDLE)) {
                    at = end;
                    continue;
                }
                usual = usual && q[kind_at] == (kind | LAST) && length > 0 && be64(q) == word + packets + count + rule[LAST_M];
                whole = 1;
                break;
            }
            if (!whole) { /* the rest has not come */
                usual = length <= rule[PACKET_MAX];
                break;
            }
            if (!usual)
                break;
        }
        if (end > fill) {
            usual = length <= rule[PACKET_MAX];
            break;
        }
        if (data[end - 1] == 0) { /* zeros behind the slice */
            usual = 0;
            break;
        }
        const Py_ssize_t unit = end - pos - header * (Py_ssize_t)count - START_CODE;
        if (out == NULL) {
            out = PyBytes_FromStringAndSize(NULL, fill - pos);
            if (out == NULL)
                return NULL;
            write = (unsigned char *)PyBytes_AS_STRING(out);
        }
        const uint64_t dts = ts - rule[OFFSET];
        unsigned char *w = write;
        w = put32(w, (uint32_t)(0x9000009 + unit));
        w = put32(w, (uint32_t)((dts & 0xFFFFFF) << 8 | (dts >> 24 & 0xFF)));
        w = put32(w, (uint32_t)rule[LEAD]);
        w = put32(w, (uint32_t)rule[SECOND]);
        w = put32(w, (uint32_t)unit);
        Py_ssize_t from = pos;
        for (uint64_t i = 0; i < count; i++) {
            const unsigned char *q = data + from;
            const Py_ssize_t size = be16(q + header - 2), skip = i ? 0 : START_CODE;
            memcpy(w, q + header + skip, (size_t)(size - skip));
            w += size - skip;
            from += header + size;
        }
        if (holds_start_code(write + TAG, w)) { /* more than one NAL unit */
            usual = 0;
            break;
        }
        write = put32(w, (uint32_t)(unit + TAG));
        step = ts - stamp;
        stamp = ts;
        packets += count;
        frames++;
        last_at = at;
        pos = end;
    }
    if (out != NULL && (frames == 0 || _PyBytes_Resize(&out, (char *)write - PyBytes_AS_STRING(out)) < 0))
        Py_CLEAR(out);
    if (PyErr_Occurred())
        return NULL;
    if (out == NULL)
        out = Py_NewRef(Py_None);
    return Py_BuildValue("NnnnKKKKN", out, pos, last_at, looked, (unsigned long long)packets, (unsigned long long)stamp, (unsigned long long)step,
                         (unsigned long long)frames, PyBool_FromLong(usual));
}

static PyMethodDef methods[] = {
    {"scan", (PyCFunction)(void (*)(void))scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_scan", "Ordinary pictures, from packets to FLV tags.", 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModule_Create(&module); }
