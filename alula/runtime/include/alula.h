/*
 * A compiled model as a shared library.  `alula compile M.alula -o DIR` writes this header, the library, and beside it
 * the model file that the weights stay in.  For C99, C++11 and later.
 *
 * The library needs libc and POSIX threads, nothing else.  All functions may be called from any thread; runs of one
 * session take turns, sessions are independent of each other.  Every library exports the same names: a program that
 * links two of them gets the first one's, so load a second one with dlopen(..., RTLD_LOCAL).
 *
 * What is checked, and when:
 *   alula_session_create  the processor; the model file's length, opening and header, which has to have the SHA-256
 *                         that the library was made with: another file is refused.  Weights are mapped, not read.
 *   alula_session_check   the SHA-256 of all weights.  It reads the whole file, at about 0.25 GB/s: call it where the
 *                         file may have suffered, once after it was copied, say.
 * The file must not be written to while a session has it open; a new one may take its place (rename).
 */
#ifndef ALULA_H
#define ALULA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALULA_ABI_VERSION 1
#define ALULA_BATCH (-1)      /* in `dims`: the batch size of the run */
#define ALULA_ERROR_BYTES 512 /* room for an error's text, its end included */

/* An input or output: an array in row-major order, contiguous, aligned as its elements are. */
typedef struct alula_port {
    const char *name;
    const char *dtype;   /* bool u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 */
    int64_t rank;
    const int64_t *dims; /* [rank] sizes, or ALULA_BATCH */
    int64_t bytes;       /* of the array; where a size is ALULA_BATCH, of each image */
} alula_port;

/*
 * How a picture becomes the input: its shorter side is resized to `resize` pixels (0: not resized), the centre square of
 * `crop` pixels is taken.  With `folded` the model takes it as u8 [batch, crop, crop, 3], RGB, and normalises inside;
 * without, it takes f32 [batch, 3, crop, crop], channels in `order`, (x / 255 - mean) / std.
 */
typedef struct alula_preprocess {
    int64_t crop, resize, antialias, folded;
    const char *resampling; /* nearest bilinear bicubic lanczos */
    const char *library;    /* pillow or opencv: whose resampling is meant */
    const char *order;      /* RGB or BGR */
    double mean[3], std[3];
} alula_preprocess;

typedef struct alula_description {
    int64_t abi_version; /* ALULA_ABI_VERSION of the library */
    int64_t least_batch, most_batch, tuned_batch;
    int64_t file_bytes; /* of the model file */
    int64_t input_count, output_count;
    const char *name, *precision, *target;
    const char *digest;            /* of the model file, in hexadecimal */
    const alula_port *inputs;      /* [input_count] */
    const alula_port *outputs;     /* [output_count] */
    const alula_preprocess *image; /* NULL for a model that does not say how it takes pictures */
} alula_description;

typedef struct alula_session alula_session;

/* What the library holds; needs no session, never fails, valid while the library is loaded. */
const alula_description *alula_describe(void);

/*
 * A session on the model file at `path` with `threads` threads, the caller of a run being one of them; 0 takes as many
 * as this process may use processors, 255 are the most.  NULL where that cannot be; then `error`, room for
 * ALULA_ERROR_BYTES or NULL, holds one line that says why.
 */
alula_session *alula_session_create(const char *path, int threads, char *error);

/* 0 where all weights have the SHA-256 that they were built with, -1 with a line in `error` where not. */
int alula_session_check(alula_session *session, char *error);

/*
 * Fills outputs[output_count] from inputs[input_count], in the order of the description, for `batch` images.  Returns 0;
 * or -1 with a line in `error`, and then the outputs hold what they held.  The same bits for every batch and number of
 * threads.
 */
int alula_session_run(alula_session *session, const void *const *inputs, void *const *outputs, int64_t batch,
                      char *error);

/* How many threads a run takes. */
int alula_session_threads(const alula_session *session);

/* Ends the threads and gives all memory back; no run may be under way.  NULL is allowed. */
void alula_session_destroy(alula_session *session);

#ifdef __cplusplus
}
#endif

#endif
