"""Label pictures: fields in, panel bytes out. Pure CPU; the same input gives the same bytes."""
