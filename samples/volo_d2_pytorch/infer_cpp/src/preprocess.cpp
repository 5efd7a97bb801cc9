#include "preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "error.hpp"
#include "resample.hpp"

namespace sample {
namespace {

constexpr int64_t kMostPixels = 89478485;  // Pillow's limit against decompression bombs: a quarter of a gigabyte of RGB

// Along one side: `taken` pixels from `start` of the resized picture, with `before` black ones ahead of them.
struct Side {
    int start, taken, before;
};

// As torchvision's CenterCrop: half an odd margin goes to the even neighbour; with OpenCV down, as slices do.
Side side(int length, const alula_preprocess& contract) {
    const int crop = static_cast<int>(contract.crop), margin = length - crop;
    if (margin < 0) {
        return {0, length, -margin / 2};
    }
    const bool opencv = std::strcmp(contract.library, "opencv") == 0;
    return {opencv ? margin / 2 : static_cast<int>(std::nearbyint(margin / 2.0)), crop, 0};
}

// The longer side is cut to whole pixels.
int resized(int length, int shorter, int64_t target) {
    return static_cast<int>(static_cast<double>(target * length) / shorter);
}

Image cut(const Image& image, const Window& window) {
    Image result(window.rows, window.columns);
    for (int row = 0; row < window.rows; ++row) {
        std::copy_n(image.at(window.top + row, window.left), window.columns * kChannels, result.at(row, 0));
    }
    return result;
}

Image cropped(const Image& image, const alula_preprocess& contract) {
    const int shorter = std::min(image.height, image.width);
    const int height = contract.resize ? resized(image.height, shorter, contract.resize) : image.height;
    const int width = contract.resize ? resized(image.width, shorter, contract.resize) : image.width;
    if (static_cast<int64_t>(height) * width > kMostPixels) {
        throw Error("expected at most " + std::to_string(kMostPixels) + " pixels once resized, got " +
                    std::to_string(width) + "x" + std::to_string(height));
    }
    const Side down = side(height, contract), along = side(width, contract);
    const Window window{down.start, along.start, down.taken, along.taken};
    const std::string filter = contract.resampling, library = contract.library;
    const bool by_pillow = library == "pillow" && (contract.antialias || filter == "nearest");
    Image part;
    if (height == image.height && width == image.width) {
        part = cut(image, window);
    } else if (by_pillow) {
        part = cut(resized_as_pillow(image, height, width, filter), window);
    } else {
        part = resized_plainly(image, height, width, window, filter, library);
    }
    const int crop = static_cast<int>(contract.crop);
    if (part.height == crop && part.width == crop) {
        return part;
    }
    Image square(crop, crop);
    for (int row = 0; row < part.height; ++row) {
        std::copy_n(part.at(row, 0), part.width * kChannels, square.at(down.before + row, along.before));
    }
    return square;
}

}  // namespace

void preprocess(const Image& image, const alula_preprocess& contract, uint8_t* place) {
    const Image square = cropped(image, contract);
    if (contract.folded) {
        std::copy(square.pixels.begin(), square.pixels.end(), place);
        return;
    }
    const bool bgr = std::strcmp(contract.order, "BGR") == 0;
    const size_t count = square.pixels.size() / kChannels;
    float* plane = reinterpret_cast<float*>(place);
    for (int channel = 0; channel < kChannels; ++channel) {
        const int source = bgr ? kChannels - 1 - channel : channel;
        const float mean = static_cast<float>(contract.mean[channel]), std = static_cast<float>(contract.std[channel]);
        for (size_t index = 0; index < count; ++index) {
            *plane++ = (square.pixels[index * kChannels + source] / 255.0F - mean) / std;
        }
    }
}

}  // namespace sample
