// A decoded picture -> what the model takes of it: the contract that the model file carries, as alula.vision follows it.
#pragma once

#include <cstdint>

#include "alula.h"
#include "image.hpp"

namespace sample {

// Writes one image's input to `place`: uint8 [crop][crop][3] RGB, or, where the contract is not folded, float32
// [3][crop][crop], normalised.  Throws Error for a picture that, resized, would be too large.
void preprocess(const Image& image, const alula_preprocess& contract, uint8_t* place);

}  // namespace sample
