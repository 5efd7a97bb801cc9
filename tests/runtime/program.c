/* A program on a compiled model, for the tests: all functions of alula.h, the scores of the last image as bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alula.h"

int main(int count, char **words)
{
    const alula_description *about = alula_describe();
    const size_t input_bytes = (size_t)about->inputs[0].bytes, output_bytes = (size_t)about->outputs[0].bytes;
    const size_t classes = output_bytes / sizeof(float);
    char error[ALULA_ERROR_BYTES] = "";
    alula_session *session = count == 2 ? alula_session_create(words[1], 2, error) : NULL;
    int64_t batch;

    if (session == NULL || alula_session_check(session, error) != 0 || alula_session_threads(session) != 2) {
        fprintf(stderr, "error: %s\n", error);
        return 1;
    }
    for (batch = 1; batch <= 3; ++batch) {
        unsigned char *images = (unsigned char *)malloc((size_t)batch * input_bytes);
        float *scores = (float *)malloc((size_t)batch * output_bytes);
        const void *inputs[1];
        void *outputs[1];
        size_t place;
        for (place = 0; place < (size_t)batch * input_bytes; ++place) {
            images[place] = (unsigned char)(place % input_bytes % 251);
        }
        inputs[0] = images;
        outputs[0] = scores;
        if (alula_session_run(session, inputs, outputs, batch, error) != 0) {
            fprintf(stderr, "error: %s\n", error);
            return 1;
        }
        for (place = 0; place < classes; ++place) {
            uint32_t bits;
            memcpy(&bits, scores + ((size_t)batch - 1) * classes + place, sizeof bits);
            printf("%08lx%c", (unsigned long)bits, place + 1 < classes ? ' ' : '\n');
        }
        free(images);
        free(scores);
    }
    alula_session_destroy(session);
    alula_session_destroy(NULL);
    if (alula_session_create("none.alula", 0, error) == NULL) {
        printf("%s\n", error);
    }
    return 0;
}
