"""Image files as pixels: torchvision's, pixel for pixel; every kind of file; damaged ones named."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms as tv
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import functional as F

from gear.data import transforms
from gear.data.folder import load_folder

SIZE = 32
# landscape, portrait, square; larger, smaller and exactly the target; odd and even rests
SHAPES = [(50, 37), (37, 50), (75, 40), (64, 64), (32, 32), (32, 61), (20, 31), (9, 8), (1, 3)]


@pytest.fixture
def file(tmp_path, photo):
    """file(width, height): the path of a PNG of that shape."""

    def make(width, height):
        path = tmp_path / f"{width}x{height}.png"
        photo(width, height).save(path)
        return path

    return make


@pytest.mark.parametrize("width, height", SHAPES)
@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_validation_pixels_are_torchvisions(file, width, height, name):
    path = file(width, height)
    steps = [tv.Resize(SIZE, tv.InterpolationMode(name)), tv.CenterCrop(SIZE)]
    expected = np.asarray(tv.Compose(steps)(pil_loader(path)))
    found = transforms.validation_pixels(path, 3, SIZE, name)
    assert found.dtype == np.uint8 and np.array_equal(found, expected)


@pytest.mark.parametrize("width, height", SHAPES)
def test_training_pixels_are_a_crop_of_torchvisions_resized_image(file, width, height):
    path = file(width, height)
    resized = tv.Resize(SIZE, tv.InterpolationMode.BICUBIC)(pil_loader(path))
    down, right = resized.height - SIZE, resized.width - SIZE
    last = 1 - 2**-53  # the largest number that the generator gives
    corners = {(0.0, 0.0): (0, 0), (last, last): (down, right), (0.0, last): (0, right)}
    corners[0.5, 0.5] = ((down + 1) // 2, (right + 1) // 2)
    for (u_top, u_left), (top, left) in corners.items():
        expected = F.crop(resized, top, left, SIZE, SIZE)
        found = transforms.training_pixels(path, 3, SIZE, (u_top, u_left, 0.5))
        assert np.array_equal(found, np.asarray(expected))
        mirrored = transforms.training_pixels(path, 3, SIZE, (u_top, u_left, 0.49))
        assert np.array_equal(mirrored, np.asarray(F.hflip(expected)))


def test_every_place_of_the_crop_is_as_likely():
    columns = Image.fromarray(np.tile(np.arange(37, dtype=np.uint8), (SIZE, 1)))
    rows = columns.transpose(Image.Transpose.TRANSPOSE)
    grid = (np.arange(600) + 0.5) / 600
    lefts = [np.asarray(transforms.random_crop(columns, SIZE, 0.3, u))[0, 0] for u in grid]
    tops = [np.asarray(transforms.random_crop(rows, SIZE, u, 0.3))[0, 0] for u in grid]
    assert np.bincount(lefts).tolist() == np.bincount(tops).tolist() == [100] * 6


# kinds of files


def sixteen_bit_rgb(values_HWC):
    """A PNG of 16-bit colour, which PIL reads but does not write."""
    height, width, _ = values_HWC.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    found = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        check = zlib.crc32(kind + body)
        found += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    return found


def encoded(picture, kind):
    """The bytes of a file of that kind."""
    buffer = io.BytesIO()
    if kind == "CMYK":
        picture.convert("CMYK").save(buffer, "JPEG")
    elif kind == "EXIF":
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees to show
        picture.save(buffer, "JPEG", exif=exif)
    elif kind == "palette":  # each colour with its own transparency
        alpha = bytes(range(256))
        picture.quantize(256).save(buffer, "PNG", transparency=alpha)
    elif kind == "transparent colour":
        picture.save(buffer, "PNG", transparency=picture.getpixel((0, 0)))
    elif kind == "WebP":
        picture.convert("RGBA").save(buffer, "WEBP")
    else:  # a mode of PIL
        picture.convert(kind).save(buffer, "PNG")
    return buffer.getvalue()


KINDS = ("CMYK", "EXIF", "palette", "transparent colour", "WebP", "L", "1", "LA", "RGBA", "RGB")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read_as_image_folder_reads_it(tmp_path, photo, kind):
    path = tmp_path / "image"
    path.write_bytes(encoded(photo(40, 33), kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = transforms.open_image(path, 3)
        gray = transforms.open_image(path, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's own, of the transparency that it drops
        expected, expected_gray = pil_loader(path), Image.open(path).convert("L")
    assert (found.mode, found.size) == ("RGB", (40, 33))
    assert np.array_equal(found, expected) and np.array_equal(gray, expected_gray)


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "gray.png")
    nearest = np.rint(values / 65535 * 255).astype(np.uint8)
    assert np.array_equal(transforms.open_image(tmp_path / "gray.png", 1), nearest)
    colour = transforms.open_image(tmp_path / "gray.png", 3)
    assert np.array_equal(colour, np.repeat(nearest[..., None], 3, 2))
    colours = np.stack([values, values[::-1], values.T], -1)
    (tmp_path / "colour.png").write_bytes(sixteen_bit_rgb(colours))
    found = np.asarray(transforms.open_image(tmp_path / "colour.png", 3)).astype(int)
    assert np.abs(found - colours / 257).max() <= 1  # PIL takes the high byte


def test_images_in_memory_are_scaled_from_sixteen_bits_too(tmp_path):
    (tmp_path / "val" / "0").mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 51 * 257, np.uint16)).save(tmp_path / "val/0/a.png")
    assert load_folder(tmp_path, "val", 1, 8)[0].unique().tolist() == [51]


# damaged files


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_a_file_that_is_cut_off_is_named_in_one_sentence(tmp_path, photo, kind, share):
    photo(60, 50).save(tmp_path / "whole", kind)
    whole, path = (tmp_path / "whole").read_bytes(), tmp_path / "cut"
    path.write_bytes(whole[: int(share * len(whole))])
    for read in (transforms.validation_pixels, lambda *a: transforms.training_pixels(*a, (0,) * 3)):
        with pytest.raises(ValueError) as error:
            read(path, 3, SIZE)
        said = str(error.value)
        assert said.startswith(f"{path} cannot be read as an image (") and "\n" not in said
        assert said.endswith("); replace or remove it.")


@pytest.mark.parametrize("content", [None, b"<html>not found</html>"])
def test_what_is_no_image_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "x.jpg").write_bytes(content)
    fault = r"x\.jpg (is missing|cannot be read as an image .*); replace or remove it"
    with pytest.raises(ValueError, match=fault):
        transforms.open_image(tmp_path / "x.jpg", 3)


@pytest.mark.parametrize(
    "values, said",
    [
        (np.full((4, 4), 0.5, np.float32), "its pixels are floats, whose range it does not state"),
        (np.full((4, 4), 70000, np.int32), "it has pixels of 70000 to 70000, beyond 16 bits"),
        (np.full((4, 4), -1, np.int32), "it has pixels of -1 to -1, beyond 16 bits"),
    ],
)
def test_pixels_without_a_known_range_are_refused(tmp_path, values, said):
    """Cut to 0..255 they would be black or white, and nobody would know."""
    Image.fromarray(values).save(tmp_path / "x.tiff")
    (tmp_path / "x.tiff").rename(tmp_path / "x.png")
    with pytest.raises(ValueError, match=said):
        transforms.open_image(tmp_path / "x.png", 3)
