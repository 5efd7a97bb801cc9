// What the sample's C++ program makes of a picture, as bytes on standard output, for the tests.
#include <cstdlib>
#include <iostream>

#include "error.hpp"
#include "pictures.hpp"
#include "preprocess.hpp"

// pixels <folder> <name> <crop> <resize> <antialias> <folded> <resampling> <library> <order>
int main(int, char** words) {
    try {
        const sample::Image image = sample::decoded(words[1], {words[2], 0});
        alula_preprocess contract{std::atol(words[3]), std::atol(words[4]), std::atol(words[5]),
                                  std::atol(words[6]), words[7],            words[8],
                                  words[9],            {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
        const size_t values = static_cast<size_t>(contract.crop * contract.crop) * sample::kChannels;
        std::vector<uint8_t> input(values * (contract.folded ? 1 : sizeof(float)));
        sample::preprocess(image, contract, input.data());
        std::cout.write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
        return 0;
    } catch (const sample::Error& error) {
        std::cerr << "error: " << error.what() << std::endl;
        return 2;
    }
}
