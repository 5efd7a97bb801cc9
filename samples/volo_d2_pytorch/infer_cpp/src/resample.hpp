// Resizing with the same bits as Pillow's Image.resize, and as alula/vision/resample.py where nothing is antialiased.
#pragma once

#include <string>

#include "image.hpp"

namespace sample {

// As Pillow resizes: the filter (bilinear, bicubic, lanczos) widened when it shrinks, weights of 22 bits, rounded to
// bytes after the columns and again after the rows; or `nearest`.
Image resized_as_pillow(const Image& image, int height, int width, const std::string& filter);

// Rows `top`.. and columns `left`.. of the resized picture, [rows][columns], never antialiased.  `opencv`: cv2.resize
// with INTER_NEAREST, INTER_LINEAR or INTER_CUBIC, edges repeated, rounded once.  `pillow`: its filters as they enlarge.
struct Window {
    int top, left, rows, columns;
};
Image resized_plainly(const Image& image, int height, int width, const Window& window, const std::string& filter,
                      const std::string& library);

}  // namespace sample
